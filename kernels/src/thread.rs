//! What a thread sets up before it runs a table's kernels: the tiles of a matrix unit, for example.

use core::marker::PhantomData;

/// What a thread does around its work with a table's kernels.
#[derive(Clone, Copy, Debug)]
pub struct ThreadSetup {
    /// Before the first of them.
    pub set_up: fn(),
    /// After the last.
    pub tear_down: fn(),
}

impl ThreadSetup {
    /// Sets the calling thread up until what this returns is dropped.
    pub fn enter(self) -> ThreadReady {
        (self.set_up)();
        ThreadReady {
            tear_down: self.tear_down,
            thread: PhantomData,
        }
    }
}

/// A thread that has been set up. It stays where it is: another one has not been.
#[derive(Debug)]
pub struct ThreadReady {
    tear_down: fn(),
    thread: PhantomData<*const ()>,
}

impl Drop for ThreadReady {
    fn drop(&mut self) {
        (self.tear_down)();
    }
}
