//! A camera loop must not allocate: after the first run, a run on the CPU takes no memory from the system's allocator, on
//! any thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use thinfer::tools::bench::{LayerSpec, layer_artifact, noise};
use thinfer::{Device, Form, Forms, Options, Session};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, SeqCst);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_run_after_the_first_allocates_nothing() {
    let cases = [
        ("linear:512,512", 1),
        ("linear:512,512", 40),
        ("conv:3x3,3,64,32x32", 2),
        ("conv:3x3,64,64,32x32", 1),
        ("conv:3x3,256,256,4x4", 1),
        ("conv:1x1,64,128,16x16", 1),
    ];
    for (spec, batch) in cases {
        for (rank, form) in [(None, Form::Dense), (Some(3), Form::TwoStage), (Some(3), Form::Fused)] {
            let artifact = layer_artifact(spec.parse::<LayerSpec>().unwrap(), rank).unwrap();
            let options = Options { batch, forms: Forms::All(form), keep_factors: true, ..Options::default() };
            let mut session = Session::new(&Device::cpu(), &artifact, &options).unwrap();
            let input = noise(session.input_len() * batch);
            let mut output = vec![0.0; session.output_len() * batch];
            session.run_into(&input, &mut output).unwrap();
            // A thread that starts late allocates once for itself; a run that allocates does so each time.
            let allocated = || {
                let before = CALLS.load(SeqCst);
                for _ in 0..20 {
                    session.run_into(&input, &mut output).unwrap();
                }
                CALLS.load(SeqCst) - before
            };
            let least = std::iter::repeat_with(allocated).take(10).min_by_key(|&n| n);
            assert_eq!(least, Some(0), "{spec} batch {batch} {form:?}");
        }
    }
}
