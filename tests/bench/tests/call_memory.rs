//! How much memory an established call holds. Bytes asked for, not resident pages: the same on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
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

/// The tests count the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// What [limits] says without being asked, and how many try.
const HALF_OPEN_MAX: usize = 20_000;
const HALF_OPEN: usize = 100_000;
/// What all of them together may hold: calls, and what remembers the refusals of the others.
const HALF_OPEN_BYTES_MAX: usize = 400 << 20;

#[test]
fn a_hundred_thousand_invites_that_nobody_answers_are_bounded_and_forgotten() {
    let _alone = ALONE.lock();
    let mut border = Border::limited(HALF_OPEN_MAX);
    let before = HELD.load(Ordering::Relaxed);
    let mut refused = 0;
    for _ in 0..HALF_OPEN {
        border.dial();
        refused += usize::from(border.told() == 503);
    }
    assert_eq!((border.held(), refused), (HALF_OPEN_MAX, HALF_OPEN - HALF_OPEN_MAX));
    let held = HELD.load(Ordering::Relaxed) - before;
    println!("half-open: {} MB for {HALF_OPEN_MAX} calls and {refused} refusals", held >> 20);
    assert!(held <= HALF_OPEN_BYTES_MAX, "{held} bytes");
    border.pass(Duration::from_secs(300));
    assert_eq!(border.held(), 0);
    let left = HELD.load(Ordering::Relaxed) - before;
    println!("half-open: {} MB five minutes later", left >> 20);
    // Tables keep their room.
    assert!(left <= held / 3, "{left} bytes of {held} are left");
}

#[test]
fn an_established_call_is_small_and_leaves_nothing_behind() {
    let _alone = ALONE.lock();
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
