"""The service's HTTP interface, version 1: its routes, by what they are about."""
