"""Users' own training code as a trainer: a function, or a class."""
