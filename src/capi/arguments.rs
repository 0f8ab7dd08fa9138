//! What comes from C, checked: pointers, counts, strings, and structs that say their own size.

use super::error::{Failure, Status};
use std::ffi::{CStr, c_char};
use std::sync::{Mutex, MutexGuard, TryLockError};

/// Structs of programs built for a later version may be longer than this one's, but not by more.
const LONGEST: usize = 4096;

fn invalid(what: String) -> Failure {
    Failure::new(Status::InvalidArgument, what)
}

fn check<T>(pointer: *const T, name: &str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(invalid(format!("{name} is null")));
    }
    if !pointer.is_aligned() {
        let what = format!("{name} is not a multiple of {}", align_of::<T>());
        return Err(invalid(what));
    }
    Ok(())
}

/// What `pointer` points to.
///
/// # Safety
/// If it is not null it points to a live `T`.
pub(super) unsafe fn borrow<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    check(pointer, name)?;
    // SAFETY: not null and aligned; the caller vouches for the rest.
    Ok(unsafe { &*pointer })
}

/// Elements; a null pointer is none, if so many are said.
///
/// # Safety
/// If `pointer` is not null, `count` elements lie there.
pub(super) unsafe fn slice<'a, T>(
    pointer: *const T,
    count: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check(pointer, name)?;
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(invalid(format!("{name}: {count} cannot be so many")));
    }
    // SAFETY: not null, aligned and no longer than an allocation can be; the caller vouches for
    // the rest.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// A text of `len` bytes.
///
/// # Safety
/// As [`slice`].
pub(super) unsafe fn text<'a>(
    pointer: *const c_char,
    len: usize,
    name: &str,
) -> Result<&'a str, Failure> {
    // SAFETY: the caller's.
    let bytes = unsafe { slice(pointer.cast::<u8>(), len, name)? };
    utf8(bytes, name)
}

/// A text up to its NUL.
///
/// # Safety
/// If `pointer` is not null there is a NUL after it.
pub(super) unsafe fn string<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    check(pointer, name)?;
    // SAFETY: not null; the caller vouches for the NUL.
    utf8(unsafe { CStr::from_ptr(pointer) }.to_bytes(), name)
}

fn utf8<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        invalid(format!("{name} is not UTF-8 from byte {at} on"))
    })
}

/// A place for a result that must be given.
///
/// # Safety
/// If `pointer` is not null a `T` fits there; it need not hold one yet.
pub(super) unsafe fn put<T>(pointer: *mut T, value: T, name: &str) -> Result<(), Failure> {
    check(pointer, name)?;
    // SAFETY: not null and aligned; the caller vouches for the room.
    unsafe { pointer.write(value) };
    Ok(())
}

/// As [`put`], for a result that may be left out by a null pointer.
///
/// # Safety
/// As [`put`].
pub(super) unsafe fn put_if<T>(pointer: *mut T, value: T, name: &str) -> Result<(), Failure> {
    match pointer.is_null() {
        true => Ok(()),
        // SAFETY: the caller's.
        false => unsafe { put(pointer, value, name) },
    }
}

/// Gives C a handle, or null and why not.
///
/// # Safety
/// As [`put`].
pub(super) unsafe fn hand_over<T>(
    pointer: *mut *mut T,
    name: &str,
    make: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's, both times; the first one has shown that there is room.
    unsafe {
        put(pointer, std::ptr::null_mut(), name)?;
        let made = Box::new(make()?);
        put(pointer, Box::into_raw(made), name)
    }
}

/// Copies `from` to a buffer of `capacity` elements if it fits; `count` learns how many there
/// are either way.
///
/// # Safety
/// If `buffer` is not null it has room for `capacity` elements; `count` as in [`put`].
pub(super) unsafe fn fill<T: Copy>(
    from: &[T],
    buffer: *mut T,
    capacity: usize,
    count: *mut usize,
    name: &str,
) -> Result<(), Failure> {
    // SAFETY: the caller's.
    unsafe { put(count, from.len(), "count")? };
    if from.len() > capacity {
        let what = format!("{name} has room for {capacity}, {} are needed", from.len());
        return Err(Failure::new(Status::BufferTooSmall, what));
    }
    if !from.is_empty() {
        check(buffer, name)?;
        // SAFETY: not null and aligned, with room for `capacity` elements, so for these; what
        // this library made does not overlap what the caller did.
        unsafe { buffer.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    }
    Ok(())
}

/// A struct that begins with its own size as its program knows it, so that programs and
/// libraries of different versions understand each other.
///
/// # Safety
/// `repr(C)`, its first field is that `usize`, and any bytes make a valid one.
pub(super) unsafe trait Versioned: Copy {
    /// What C calls it.
    const NAME: &'static str;
    /// Bytes it had when it first appeared: no program says less.
    const FIRST: usize;
}

/// A struct's size as the program says it.
///
/// # Safety
/// If `pointer` is not null there are as many bytes as the `usize` there says.
unsafe fn said<T: Versioned>(pointer: *const T) -> Result<usize, Failure> {
    check(pointer, T::NAME)?;
    // SAFETY: not null and aligned; every such struct begins with a `usize`.
    let size = unsafe { pointer.cast::<usize>().read() };
    if (T::FIRST..=LONGEST).contains(&size) {
        return Ok(size);
    }
    let what = format!(
        "{}: its size is {size}, expected sizeof({}), {} or more",
        T::NAME,
        T::NAME,
        T::FIRST
    );
    Err(invalid(what))
}

/// Reads a struct; fields that the program does not know keep what `defaults` says, and none
/// is set that this library does not know.
///
/// # Safety
/// If `pointer` is not null there are as many bytes as the `usize` there says.
pub(super) unsafe fn read<T: Versioned>(pointer: *const T, defaults: T) -> Result<T, Failure> {
    if pointer.is_null() {
        return Ok(defaults);
    }
    let mut value = defaults;
    // SAFETY: `said` bytes are there, of which `T` takes as many as it has; any bytes make one.
    unsafe {
        let size = said(pointer)?;
        let known = size.min(size_of::<T>());
        let bytes = pointer.cast::<u8>();
        std::ptr::from_mut(&mut value)
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes, known);
        let rest = std::slice::from_raw_parts(bytes.add(known), size - known);
        if rest.iter().any(|&byte| byte != 0) {
            let what = format!(
                "{}: a field is set that this version does not know",
                T::NAME
            );
            return Err(invalid(what));
        }
    }
    Ok(value)
}

/// Writes as much of a struct as the program knows, its size excepted.
///
/// # Safety
/// As [`read`], for writing.
pub(super) unsafe fn write<T: Versioned>(pointer: *mut T, value: &T) -> Result<(), Failure> {
    // SAFETY: as in `read`.
    unsafe {
        let size = said(pointer)?;
        let known = size.min(size_of::<T>());
        let skip = size_of::<usize>();
        let bytes = pointer.cast::<u8>();
        bytes.add(skip).copy_from_nonoverlapping(
            std::ptr::from_ref(value).cast::<u8>().add(skip),
            known - skip,
        );
        bytes.add(known).write_bytes(0, size - known);
    }
    Ok(())
}

/// Writes the defaults into a struct of `size` bytes that need not say it yet.
///
/// # Safety
/// If `pointer` is not null there are `size` bytes.
pub(super) unsafe fn init<T: Versioned>(
    pointer: *mut T,
    size: usize,
    value: &T,
) -> Result<(), Failure> {
    check(pointer, T::NAME)?;
    if size < size_of::<usize>() {
        return Err(invalid(format!("{}: its size is {size}", T::NAME)));
    }
    // SAFETY: there is room for the size at least.
    unsafe {
        pointer.cast::<usize>().write(size);
        write(pointer, value)
    }
}

/// Refuses bits without a meaning.
pub(super) fn flags(given: u32, known: u32) -> Result<(), Failure> {
    match given & !known {
        0 => Ok(()),
        rest => Err(invalid(format!("flags {rest:#x} are not known"))),
    }
}

/// A handle's inside, for one call at a time.
pub(super) fn enter_handle<'a, T>(
    inner: &'a Mutex<T>,
    name: &str,
) -> Result<MutexGuard<'a, T>, Failure> {
    inner.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            let what = format!("another call is using this {name}");
            Failure::new(Status::Busy, what)
        }
        TryLockError::Poisoned(_) => broken(name),
    })
}

/// What a panic went through.
pub(super) fn broken(name: &str) -> Failure {
    let what = format!("an internal error left this {name} unusable, free it");
    Failure::new(Status::Panicked, what)
}

/// Frees a handle, unless a call is using it.
///
/// # Safety
/// It is null, or came from [`hand_over`] and was not freed.
pub(super) unsafe fn free<T>(pointer: *mut T, inner: impl FnOnce(&T) -> bool) {
    if pointer.is_null() {
        return;
    }
    let drop = || {
        // SAFETY: the caller's; nobody uses it any more.
        unsafe {
            if !inner(&*pointer) {
                drop(Box::from_raw(pointer));
            }
        }
    };
    // There is nobody to tell: what could be freed is.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(drop));
}

/// Whether a call is using what this guards.
pub(super) fn in_use<T>(inner: &Mutex<T>) -> bool {
    matches!(inner.try_lock(), Err(TryLockError::WouldBlock))
}
