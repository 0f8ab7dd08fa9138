//! Attention among the rows of a run, whose keys are turned into pages as they are needed: of a
//! whole sequence, or near a row. What is hidden is never met but at the edges of what is seen, and
//! no buffer is longer than a page.
//!
//! Pages begin where a row's sequence has them, wherever the chunk of rows begins
//! that they are folded for; a page that is hidden from a row leaves it as it is. So a row's sums
//! are added up in the same order whatever is computed beside it.

use super::queries::{ALL_SEEN, About, Page, Queries, alike, bytes};
use super::scratch::LONGEST_HEAD;
use crate::exec::rows::SequenceRows;
use crate::graph::{Mask, PositionScheme, Value};
use crate::kernels::KvType;
use crate::state::PAGE;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Room for a page of keys or values.
pub(super) type PageRoom = [MaybeUninit<f32>; LONGEST_HEAD * PAGE];

/// Keys that are turned side by side.
const FOUR: usize = 4;

/// The column of a key that is seen otherwise: far from all others.
const ELSEWHERE: u32 = u32::MAX;

/// One head of the run's keys and values.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) k: Value,
    pub(super) v: Value,
    pub(super) number: usize,
}

impl Queries<'_> {
    /// Rows of one group see each other, as far as the mask lets them.
    pub(super) fn over_rows(&mut self, (k, v): (Value, Value), number: usize) {
        let head = Head { k, v, number };
        let cx = self.about.cx;
        let facts = &cx.rows.facts;
        for rows in alike(self.about.rows.clone(), |row| facts[row].group) {
            let group = &cx.rows.groups[facts[rows.start].group as usize];
            let all = group.first..group.first + group.len;
            match self.about.attention.mask {
                Mask::Causal { .. } | Mask::Chunked { .. } | Mask::Bidirectional => {
                    self.over_run(rows, all, head)
                }
                Mask::Local { radius } => {
                    self.over_globals(rows.clone(), group, head);
                    self.over_window(rows.clone(), group, head, radius);
                    self.over_summaries(rows, group, number);
                }
                Mask::Blocks(sparse) => self.over_blocks(rows, group, head, sparse),
            }
        }
    }

    /// Rows see all of their group.
    pub(super) fn over_all_rows(&mut self, (k, v): (Value, Value), number: usize) {
        let head = Head { k, v, number };
        let cx = self.about.cx;
        let facts = &cx.rows.facts;
        for rows in alike(self.about.rows.clone(), |row| facts[row].group) {
            let group = &cx.rows.groups[facts[rows.start].group as usize];
            let all = group.first..group.first + group.len;
            self.over_run(rows, all, head);
        }
    }

    /// Rows see all of `keys`, which stand together in the run.
    // Kept apart, as what is below, so that the others' frames have no room for such pages.
    #[inline(never)]
    pub(super) fn over_run(&mut self, rows: Range<usize>, keys: Range<usize>, head: Head) {
        let mut room: PageRoom = [const { MaybeUninit::uninit() }; LONGEST_HEAD * PAGE];
        let about = self.about;
        for start in keys.clone().step_by(PAGE) {
            let end = keys.end.min(start + PAGE);
            let page = about.page(head, start..end, &mut room);
            let position = |place: usize| about.place(start + place);
            self.fold(rows.clone(), &page, ALL_SEEN, position);
        }
    }

    /// Rows see those of their group that are global.
    fn over_globals(&mut self, rows: Range<usize>, group: &SequenceRows, head: Head) {
        if !self.about.has_globals {
            return;
        }
        let globals = self.about.cx.rows.globals_of(group);
        if self.about.attention.head_dim > LONGEST_HEAD / 2 {
            // There is no room for a page of keys and values: one after the other.
            for &key in globals {
                let key = key as usize;
                self.over_run(rows.clone(), key..key + 1, head);
            }
            return;
        }
        for some in globals.chunks(PAGE) {
            let keys = |place: usize| some.get(place).map(|&key| key as usize);
            let about = self.about;
            let position = |place: usize| about.place(keys(place).unwrap_or_default());
            let here = |row: usize| about.place(row);
            let at = (&about.attention.position, here, position);
            self.over_scattered(rows.clone(), head, (some.len(), keys), at);
        }
    }

    /// Rows see those of their group that are at most `radius` columns away, but for the ones that
    /// are global.
    #[inline(never)]
    fn over_window(&mut self, rows: Range<usize>, group: &SequenceRows, head: Head, radius: u32) {
        let about = self.about;
        let cx = about.cx;
        let mut room: PageRoom = [const { MaybeUninit::uninit() }; LONGEST_HEAD * PAGE];
        let facts = &cx.rows.facts[group.first..group.first + group.len];
        let column = |row: usize| cx.rows.facts[row].column;
        let (first, last) = (column(rows.start), column(rows.end - 1));
        let low = first.saturating_sub(radius);
        let high = last.saturating_add(radius);
        let from = facts.partition_point(|facts| facts.column < low);
        let to = facts.partition_point(|facts| facts.column <= high);
        for start in (from / PAGE * PAGE..to).step_by(PAGE) {
            let there = &facts[start..group.len.min(start + PAGE)];
            let mut columns = [ELSEWHERE; PAGE];
            let mut all_seen = true;
            for (column, facts) in columns.iter_mut().zip(there) {
                if !(self.about.has_globals && facts.is_global) {
                    *column = facts.column;
                }
                all_seen &= column.abs_diff(first) <= radius && column.abs_diff(last) <= radius;
            }
            let shade = |row: usize, shades: &mut [f32]| {
                let here = column(row);
                for (shade, column) in shades.iter_mut().zip(&columns) {
                    if column.abs_diff(here) > radius {
                        *shade = f32::NEG_INFINITY;
                    }
                }
            };
            let start = group.first + start;
            let page = about.page(head, start..start + there.len(), &mut room);
            let position = |place: usize| about.place(start + place);
            self.fold(rows.clone(), &page, (!all_seen, shade), position);
        }
    }

    /// Rows see all of up to a page of keys, which stand anywhere in the run, or are zeros; a page of
    /// both keys and values has room where one of the longest keys has.
    #[inline(never)]
    pub(super) fn over_scattered(
        &mut self,
        rows: Range<usize>,
        head: Head,
        (count, keys): (usize, impl Fn(usize) -> Option<usize>),
        at: (
            &PositionScheme,
            impl Fn(usize) -> u64,
            impl Fn(usize) -> u64,
        ),
    ) {
        let cx = self.about.cx;
        let dim = self.about.attention.head_dim;
        let columns = head.number * dim..(head.number + 1) * dim;
        let row = |value: Value, place: usize| match keys(place) {
            Some(key) => &cx.row(value, key)[columns.clone()],
            None => &[],
        };
        let mut room: PageRoom = [const { MaybeUninit::uninit() }; LONGEST_HEAD * PAGE];
        let (turned, gathered) = room[..2 * dim * PAGE].split_at_mut(dim * PAGE);
        for place in 0..PAGE {
            let mut key = row(head.k, place).iter().copied();
            for elements in turned.chunks_exact_mut(PAGE) {
                elements[place].write(key.next().unwrap_or(0.0));
            }
            let mut value = row(head.v, place).iter().copied();
            for element in &mut gathered[place * dim..(place + 1) * dim] {
                element.write(value.next().unwrap_or(0.0));
            }
        }
        let page = Page {
            kv_type: KvType::F32,
            // SAFETY: every element of a page of both was just written.
            keys: bytes(unsafe { written(turned) }),
            // SAFETY: the same.
            values: bytes(unsafe { written(gathered) }),
            value_stride: dim,
            value_in_key: None,
            count,
            next: None,
        };
        self.fold_at(rows, &page, ALL_SEEN, at);
    }
}

impl About<'_> {
    /// A page of keys that stand together in the run.
    pub(super) fn page<'r>(
        &self,
        head: Head,
        rows: Range<usize>,
        room: &'r mut PageRoom,
    ) -> Page<'r> {
        let cx = self.cx;
        let dim = self.attention.head_dim;
        let stride = |value: Value| cx.stride(value) / size_of::<f32>();
        let floats = |value: Value| {
            let from = cx.row_ptr(value, rows.start).cast::<f32>();
            // SAFETY: the value holds every row of the run (the checker insists), so all of
            // `rows`, of which this head's columns are read.
            unsafe {
                let len = (rows.len() - 1) * stride(value) + dim;
                std::slice::from_raw_parts(from.add(head.number * dim), len)
            }
        };
        let (turned, gathered) = room.split_at_mut(dim * PAGE);
        // Rows of a run lie a whole width apart, which the nearest cache seldom likes: each is gone
        // through once, beside three others, whose elements stand together in the page.
        let stored = floats(head.k);
        let key = |place: usize| &stored[place * stride(head.k)..][..dim];
        let (whole, last) = (rows.len() / FOUR * FOUR, rows.len());
        for place in (0..whole).step_by(FOUR) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|beside| key(place + beside).iter());
            let four = a.zip(b).zip(c.zip(d));
            for (elements, ((a, b), (c, d))) in turned.chunks_exact_mut(PAGE).zip(four) {
                let four = [*a, *b, *c, *d].map(MaybeUninit::new);
                elements[place..place + FOUR].copy_from_slice(&four);
            }
        }
        for place in whole..last {
            for (elements, element) in turned.chunks_exact_mut(PAGE).zip(key(place)) {
                elements[place].write(*element);
            }
        }
        for elements in turned.chunks_exact_mut(PAGE) {
            elements[rows.len()..].fill(MaybeUninit::new(0.0));
        }
        let (values, value_stride) = match gathered.get_mut(..dim * PAGE) {
            Some(gathered) => {
                let of = floats(head.v).chunks(stride(head.v));
                for (to, from) in gathered.chunks_exact_mut(dim).zip(of) {
                    for (to, from) in to.iter_mut().zip(from) {
                        to.write(*from);
                    }
                }
                // SAFETY: as many rows were just written.
                (unsafe { written(&gathered[..rows.len() * dim]) }, dim)
            }
            None => (floats(head.v), stride(head.v)),
        };
        Page {
            kv_type: KvType::F32,
            // SAFETY: every element was just written.
            keys: bytes(unsafe { written(turned) }),
            values: bytes(values),
            value_stride,
            value_in_key: None,
            count: rows.len(),
            next: None,
        }
    }
}

/// Floats that were written.
///
/// # Safety
///
/// All of them were.
unsafe fn written(floats: &[MaybeUninit<f32>]) -> &[f32] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), floats.len()) }
}
