//! What the bytes say: arguments.

use std::ffi::CString;
use std::mem::{MaybeUninit, size_of};
use std::ptr::{null, null_mut};

use rillm::capi::Status;

use super::World;

/// Counts and sizes.
const NUMBERS: [usize; 16] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    16,
    33,
    64,
    (1 << 20) + 1,
    1 << 60,
    usize::MAX / 2,
    usize::MAX,
];

/// Sampling options beside ordinary ones.
const FLOATS: [f32; 8] = [0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, f32::INFINITY, f32::NAN];

/// Bytes of a struct with its size in front, of programs of any version.
const STRUCT: usize = 4104;

/// A struct as a program of some version holds it.
#[repr(C, align(8))]
pub(super) struct Versioned(pub(super) [u8; STRUCT]);

impl World<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        first
    }

    pub(super) fn index(&mut self) -> usize {
        usize::from(self.byte())
    }

    pub(super) fn number(&mut self) -> usize {
        NUMBERS[self.index() % NUMBERS.len()]
    }

    pub(super) fn small(&mut self) -> usize {
        self.index() % 12
    }

    pub(super) fn float(&mut self) -> f32 {
        let by = self.index();
        match FLOATS.get(by) {
            Some(float) => *float,
            None => by as f32 / 100.0,
        }
    }

    /// A token or a sequence, most of which are there.
    pub(super) fn id(&mut self) -> u32 {
        match self.byte() {
            byte @ 0..250 => u32::from(byte % 6),
            byte => u32::MAX - u32::from(byte % 2),
        }
    }

    pub(super) fn ids(&mut self) -> Vec<u32> {
        (0..self.small()).map(|_| self.id()).collect()
    }

    /// A place that is null now and then.
    pub(super) fn place<T>(&mut self, place: &mut MaybeUninit<T>) -> *mut T {
        match self.byte() {
            251 => null_mut(),
            // Refused before anybody looks there.
            252 if align_of::<T>() > 1 => place.as_mut_ptr().cast::<u8>().wrapping_add(1).cast(),
            _ => place.as_mut_ptr(),
        }
    }

    /// The elements, or null; of none, any.
    pub(super) fn list<T>(&mut self, list: &[T]) -> *const T {
        match self.byte() {
            251 => null(),
            _ => list.as_ptr(),
        }
    }

    pub(super) fn text(&mut self) -> Vec<u8> {
        let len = self.small().min(self.bytes.len());
        let (text, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        text.to_vec()
    }

    pub(super) fn path(&mut self) -> Option<CString> {
        let name = match self.byte() % 8 {
            0 => return None,
            1 => return Some(CString::default()),
            2 => return CString::new(vec![0xFF, b'a']).ok(),
            3 => "",
            4 => "nothing/here",
            _ => "snapshot",
        };
        CString::new(self.folder.join(name).to_str()?).ok()
    }

    /// Options as `init` writes them or not at all, with a size of some version.
    pub(super) unsafe fn options<T>(
        &mut self,
        init: unsafe extern "C" fn(*mut T, usize) -> Status,
        change: impl FnOnce(&mut Self, &mut T),
    ) -> Box<Versioned> {
        let mut options = Box::new(Versioned([0; STRUCT]));
        let size = match self.byte() {
            0 => self.number(),
            1 => size_of::<T>() + 8,
            2 => 4096,
            _ => size_of::<T>(),
        };
        // SAFETY: there are as many bytes as any size that is taken; what lies there is integers,
        // floats and null pointers.
        unsafe {
            let first = (&raw mut *options).cast::<T>();
            init(first, size.min(STRUCT));
            change(self, &mut *first);
            first.cast::<usize>().write(size);
        }
        if self.byte() == 7 {
            options.0[size_of::<T>() + 8] = 1;
        }
        options
    }

    /// A struct to be filled.
    pub(super) fn sized(&mut self, usual: usize) -> Box<Versioned> {
        let mut facts = Box::new(Versioned([0xAA; STRUCT]));
        let size = match self.byte() {
            251.. => self.number(),
            _ => usual,
        };
        facts.0[..size_of::<usize>()].copy_from_slice(&size.to_ne_bytes());
        facts
    }
}
