//! The Linux engine.
