"""What all routes share: authentication, rights, schemas, errors, and limits on requests.

`schemas` is the public form of requests and responses. Routes themselves are in `api/`, `pages/`
and `gateway/`.
"""
