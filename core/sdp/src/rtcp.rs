//! The `rtcp` attribute: RFC 3605.
