"""The service's HTTP interface, version 1: its routes, by subject.

Routes translate between HTTP and `service.core`, and decide nothing. Paths, parameters and fields
are public: they may be added to, but not renamed or removed.
"""
