//! Messages and steps that the benchmarks and the allocation test share.

pub mod call;
pub mod sip_message;
