//! Bytes behind which nobody may touch anything: a kernel that reads or writes beyond what it is
//! given ends the tests.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) use pages::guarded;

/// A copy, where nothing is known of pages.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) fn guarded(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod pages {
    use std::cell::RefCell;
    use std::ops::{Deref, DerefMut};

    const PAGE: usize = 4096;
    const NONE: i32 = 0;
    const READ_AND_WRITE: i32 = 3;
    const PRIVATE_AND_ANONYMOUS: i32 = 0x22;

    // The system's own, which the standard library is linked with.
    unsafe extern "C" {
        fn mmap(at: *mut u8, len: usize, access: i32, kind: i32, file: i32, from: i64) -> *mut u8;
        fn mprotect(at: *mut u8, len: usize, access: i32) -> i32;
        fn munmap(at: *mut u8, len: usize) -> i32;
    }

    thread_local! {
        /// Mappings that are free again: making each anew takes the system longer than most products.
        static FREE: RefCell<Vec<Pages>> = const { RefCell::new(Vec::new()) };
    }

    /// Mappings that a thread keeps.
    const KEPT: usize = 8;

    struct Pages {
        start: *mut u8,
        /// Bytes before the page that nobody may touch.
        whole: usize,
    }

    impl Pages {
        fn map(whole: usize) -> Pages {
            // SAFETY: a mapping of its own, of which all but the last page is given access to.
            let start = unsafe {
                let null = std::ptr::null_mut();
                let start = mmap(null, whole + PAGE, NONE, PRIVATE_AND_ANONYMOUS, -1, 0);
                assert_ne!(start.addr(), usize::MAX, "no memory");
                assert_eq!(mprotect(start, whole, READ_AND_WRITE), 0);
                start
            };
            Pages { start, whole }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the mapping that was made, and no reference to it is left.
            unsafe { munmap(self.start, self.whole + PAGE) };
        }
    }

    pub struct Guarded {
        /// There until it is dropped.
        pages: Option<Pages>,
        len: usize,
    }

    /// A copy that ends where a page does.
    pub fn guarded(bytes: &[u8]) -> Guarded {
        let (len, whole) = (bytes.len(), bytes.len().next_multiple_of(PAGE));
        let kept = FREE.with_borrow_mut(|free| {
            let fits = free.iter().position(|pages| pages.whole == whole)?;
            Some(free.swap_remove(fits))
        });
        let pages = Some(kept.unwrap_or_else(|| Pages::map(whole)));
        let mut guarded = Guarded { pages, len };
        guarded.copy_from_slice(bytes);
        guarded
    }

    impl Guarded {
        fn start(&self) -> *mut u8 {
            let pages = self.pages.as_ref().expect("not dropped");
            pages.start.wrapping_add(pages.whole - self.len)
        }
    }

    impl Deref for Guarded {
        type Target = [u8];

        fn deref(&self) -> &[u8] {
            // SAFETY: the last bytes of the mapping's accessible pages, which are zeros or were written.
            unsafe { std::slice::from_raw_parts(self.start(), self.len) }
        }
    }

    impl DerefMut for Guarded {
        fn deref_mut(&mut self) -> &mut [u8] {
            // SAFETY: as above; nobody else has the mapping.
            unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
        }
    }

    impl Drop for Guarded {
        fn drop(&mut self) {
            let Some(pages) = self.pages.take() else {
                return;
            };
            // Where the thread ends, or has enough of them, it goes.
            let _ = FREE.try_with(|free| {
                let mut free = free.borrow_mut();
                if free.len() < KEPT {
                    free.push(pages);
                }
            });
        }
    }
}
