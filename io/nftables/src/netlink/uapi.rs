//! Numbers of the kernel's interface: `linux/netlink.h`, `linux/netfilter/nfnetlink.h`,
//! `linux/netfilter/nf_tables.h`. Only those that are used.

macro_rules! numbers {
    ($($name:ident = $value:expr),+ $(,)?; $type:ty) => { $(pub(crate) const $name: $type = $value;)+ };
}

numbers! {
    NLM_F_REQUEST = 0x1, NLM_F_ACK = 0x4, NLM_F_DUMP_INTR = 0x10, NLM_F_EXCL = 0x200, NLM_F_DUMP = 0x300,
    NLM_F_CREATE = 0x400, NLM_F_APPEND = 0x800,
    NLMSG_ERROR = 2, NLMSG_DONE = 3,
    NLA_F_NESTED = 0x8000, NLA_TYPE_MASK = 0x3fff,
    NFNL_MSG_BATCH_BEGIN = 16, NFNL_MSG_BATCH_END = 17, NFNL_SUBSYS_NFTABLES = 10;
    u16
}

/// The netlink message type of an nf_tables message.
pub(crate) const fn nftables(kind: u8) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | kind as u16
}

/// The multicast group of nf_tables' events, as the bit mask that `bind` takes.
pub(crate) const NFTABLES_EVENTS: u32 = 1 << 6;
/// The multicast group of traced packets.
pub(crate) const NFTABLES_TRACES: u32 = 1 << 8;

numbers! {
    NEWTABLE = 0, GETTABLE = 1, DELTABLE = 2, NEWCHAIN = 3, GETCHAIN = 4, DELCHAIN = 5, NEWRULE = 6, GETRULE = 7,
    DELRULE = 8, NEWSET = 9, GETSET = 10, DELSET = 11, NEWSETELEM = 12, GETSETELEM = 13, DELSETELEM = 14,
    NEWGEN = 15, GETGEN = 16, TRACE = 17, GETOBJ = 19, GETFLOWTABLE = 23, DESTROYSETELEM = 30;
    u8
}

// Families (enum NFPROTO).
numbers! { INET = 1, IPV4 = 2, BRIDGE = 7, IPV6 = 10; u8 }

// Hooks (enum nf_inet_hooks).
numbers! { PRE_ROUTING = 0, LOCAL_IN = 1, FORWARD = 2, LOCAL_OUT = 3, POST_ROUTING = 4; u32 }

numbers! { DROP = 0, ACCEPT = 1; u32 }
// Verdicts of nf_tables itself are negative there.
numbers! { JUMP = -3, GOTO = -4, RETURN = -5; i32 }

numbers! {
    LIST_ELEM = 1,
    HOOK_HOOKNUM = 1, HOOK_PRIORITY = 2,
    TABLE_NAME = 1, TABLE_FLAGS = 2, TABLE_OWNER = 7,
    CHAIN_TABLE = 1, CHAIN_NAME = 3, CHAIN_HOOK = 4, CHAIN_POLICY = 5, CHAIN_TYPE = 7,
    RULE_TABLE = 1, RULE_CHAIN = 2, RULE_HANDLE = 3, RULE_EXPRESSIONS = 4,
    SET_TABLE = 1, SET_NAME = 2, SET_FLAGS = 3, SET_KEY_TYPE = 4, SET_KEY_LEN = 5, SET_DESC = 9, SET_ID = 10,
    SET_DATA_TYPE = 6, SET_DATA_LEN = 7, SET_TIMEOUT = 11, SET_GC_INTERVAL = 12, SET_USERDATA = 13, SET_EXPR = 17, SET_EXPRESSIONS = 18,
    SET_DESC_SIZE = 1,
    ELEM_KEY = 1, ELEM_DATA = 2, ELEM_FLAGS = 3, ELEM_TIMEOUT = 4, ELEM_EXPIRATION = 5, ELEM_EXPR = 7, ELEM_EXPRESSIONS = 11,
    ELEM_LIST_TABLE = 1, ELEM_LIST_SET = 2, ELEM_LIST_ELEMENTS = 3,
    DATA_VALUE = 1, DATA_VERDICT = 2,
    VERDICT_CODE = 1, VERDICT_CHAIN = 2,
    EXPR_NAME = 1, EXPR_DATA = 2,
    IMMEDIATE_DREG = 1, IMMEDIATE_DATA = 2,
    BITWISE_SREG = 1, BITWISE_DREG = 2, BITWISE_LEN = 3, BITWISE_MASK = 4, BITWISE_XOR = 5,
    CMP_SREG = 1, CMP_OP = 2, CMP_DATA = 3,
    RANGE_SREG = 1, RANGE_OP = 2, RANGE_FROM = 3, RANGE_TO = 4,
    LOOKUP_SET = 1, LOOKUP_SREG = 2, LOOKUP_DREG = 3, LOOKUP_FLAGS = 5,
    PAYLOAD_DREG = 1, PAYLOAD_BASE = 2, PAYLOAD_OFFSET = 3, PAYLOAD_LEN = 4,
    PAYLOAD_SREG = 5, PAYLOAD_CSUM_TYPE = 6, PAYLOAD_CSUM_OFFSET = 7, PAYLOAD_CSUM_FLAGS = 8,
    META_DREG = 1, META_KEY = 2, META_SREG = 3,
    CT_DREG = 1, CT_KEY = 2, CT_SREG = 4,
    XT_NAME = 1, XT_REVISION = 2, XT_INFO = 3,
    FIB_DREG = 1, FIB_RESULT = 2, FIB_FLAGS = 3,
    OBJ_TABLE = 1, OBJ_NAME = 2, OBJ_TYPE = 3, OBJ_DATA = 4, CT_HELPER_NAME = 1,
    TRACE_TABLE = 1, TRACE_CHAIN = 2, TRACE_RULE_HANDLE = 3, TRACE_TYPE = 4, TRACE_VERDICT = 5, TRACE_POLICY = 16,
    COUNTER_BYTES = 1, COUNTER_PACKETS = 2,
    DYNSET_SET = 1, DYNSET_OP = 3, DYNSET_SREG_KEY = 4, DYNSET_TIMEOUT = 6,
    LIMIT_RATE = 1, LIMIT_UNIT = 2, LIMIT_BURST = 3, LIMIT_TYPE = 4, LIMIT_FLAGS = 5,
    GEN_ID = 1;
    u16
}

numbers! {
    TABLE_F_OWNER = 2, TABLE_F_PERSIST = 4,
    SET_F_ANONYMOUS = 1, SET_F_EXPR = 0x100, SET_F_INTERVAL = 4, SET_F_MAP = 8, SET_F_TIMEOUT = 0x10, SET_F_EVAL = 0x20, DYNSET_OP_UPDATE = 1,
    LIMIT_PKT_BYTES = 1, DATA_TYPE_VERDICT = 0xffff_ff00, LOOKUP_F_INV = 1,
    ELEM_F_INTERVAL_END = 1,
    // Registers of four octets; a set key begins at the first.
    REG_00 = 8,
    CMP_EQ = 0, CMP_NEQ = 1, CMP_LTE = 3, CMP_GTE = 5,
    CSUM_NONE = 0, CSUM_INET = 1, CSUM_F_PSEUDO_HEADER = 1,
    NETWORK_HEADER = 1, TRANSPORT_HEADER = 2,
    META_MARK = 3, META_IIFNAME = 6, META_OIFNAME = 7, META_NFTRACE = 12, META_NFPROTO = 15, META_L4PROTO = 16,
    CT_STATE = 0, CT_MARK = 3,
    CT_INVALID = 1, CT_ESTABLISHED = 2, CT_RELATED = 4, CT_NEW = 8, CT_UNTRACKED = 64,
    OBJECT_CT_HELPER = 3,
    TRACE_TYPE_POLICY = 1, TRACE_TYPE_RULE = 3,
    FIB_RESULT_OIF = 1, FIB_F_SADDR = 1, FIB_F_IIF = 8, FIB_F_PRESENT = 32;
    u32
}
