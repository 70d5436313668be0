"""The cases, a file for each part of RFC 4540."""
