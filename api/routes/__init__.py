"""The routes by subject. Their decorators ask for our way of reading requests, so it is there first."""

from api.validation import install

install()
