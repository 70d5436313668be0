//! How much memory an established call holds. Bytes asked for, not resident pages: the same on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postern_bench::call::Border;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "a global allocator cannot be written without; it only counts and passes on")]
// SAFETY: every call goes to the system allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_add(size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLS: usize = 10_000;
/// What one may hold, endpoint, ledger and indexes included.
const BYTES_PER_CALL_MAX: usize = 5_120;

#[test]
fn an_established_call_is_small_and_leaves_nothing_behind() {
    let mut border = Border::new();
    let before = HELD.load(Ordering::Relaxed);
    let calls: Vec<_> = (0..CALLS).map(|_| border.establish()).collect();
    let busy = HELD.load(Ordering::Relaxed) - before;
    // Every transaction has ended by then.
    border.pass(Duration::from_secs(40));
    assert_eq!(border.held(), CALLS);
    let held = HELD.load(Ordering::Relaxed) - before;
    println!("bytes per call: {} just answered, {} after 40 s", busy / CALLS, held / CALLS);
    assert!(held / CALLS <= BYTES_PER_CALL_MAX, "{} bytes per call", held / CALLS);
    for call in &calls {
        border.hang_up(call);
    }
    border.pass(Duration::from_secs(40));
    assert_eq!(border.held(), 0);
}
