//! How often the hot paths ask for memory. Counts, not times: they are the same on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use postern_bench::sip_message::{invite, read, relay};
use sip::message::{Builder, Message};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and nobody who asks.
    let _counted = COUNT.try_with(|count| count.set(count.get() + 1));
}

#[allow(unsafe_code, reason = "a global allocator cannot be written without; it only counts and passes on")]
// SAFETY: every call goes to the system allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(step: impl FnOnce() -> T) -> usize {
    let before = COUNT.with(Cell::get);
    drop(black_box(step()));
    COUNT.with(Cell::get) - before
}

#[test]
fn parsing_allocates_the_table_of_lines_and_nothing_else() {
    let bytes = invite();
    // Cloning shared bytes for the first time moves their count to the heap; the runtime's buffers are shared already.
    let shared = bytes.clone();
    assert_eq!(allocations(|| Message::parse(bytes)), 1);
    drop(shared);
}

#[test]
fn reading_allocates_nothing() {
    let message = Message::parse(invite()).expect("well formed");
    assert_eq!(allocations(|| read(&message)), 0);
}

#[test]
fn writing_allocates_the_buffer_and_its_owner() {
    let message = Message::parse(invite()).expect("well formed");
    assert_eq!(allocations(|| relay(&message)), 2);
    assert_eq!(allocations(|| Builder::response_to(&message, 180, "Ringing", Some("t")).finish()), 2);
}
