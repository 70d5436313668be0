//! The Linux engine: one nftables table of our own, spoken over nfnetlink without any installed tool.

mod netlink;
mod os;
