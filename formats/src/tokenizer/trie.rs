//! A trie of tokens: which of them a text begins with.

use super::error::{Shown, TokenizerError, failure};
use super::limits;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

/// Tokens by their bytes. The children of a node are neighbours, sorted by byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<TrieNode>,
}

#[derive(Clone, Copy, Debug)]
struct TrieNode {
    token: Option<u32>,
    first: u32,
    count: u16,
    byte: u8,
}

impl Trie {
    /// Of tokens with the same text, the last counts; empty texts are left out.
    ///
    /// # Errors
    /// A token is longer than a search may go.
    pub(super) fn new(mut texts: Vec<(&[u8], u32)>) -> Result<Trie, TokenizerError> {
        if let Some((text, id)) = texts
            .iter()
            .find(|text| text.0.len() > limits::SEARCHED_LEN)
        {
            return Err(failure!(
                Limit,
                "token {id}, {}, has {} bytes, at most {} are searched for",
                Shown(text),
                text.len(),
                limits::SEARCHED_LEN
            ));
        }
        texts.sort_by(|a, b| a.0.cmp(b.0));
        let root = TrieNode {
            token: None,
            first: 0,
            count: 0,
            byte: 0,
        };
        let mut nodes = alloc::vec![root];
        // Nodes to fill: the node, the texts with its prefix, and the prefix's length.
        let mut waiting: VecDeque<(usize, Range<usize>, usize)> = VecDeque::new();
        waiting.push_back((0, 0..texts.len(), 0));
        while let Some((node, mut range, depth)) = waiting.pop_front() {
            let byte_at = |index: usize| texts.get(index)?.0.get(depth).copied();
            // Texts that end here come first.
            while range.start < range.end && byte_at(range.start).is_none() {
                if depth > 0
                    && let Some(node) = nodes.get_mut(node)
                {
                    node.token = texts.get(range.start).map(|text| text.1);
                }
                range.start += 1;
            }
            let Ok(first) = u32::try_from(nodes.len()) else {
                break;
            };
            let mut count = 0;
            while let Some(byte) = byte_at(range.start).filter(|_| range.start < range.end) {
                let same = (range.start..range.end).take_while(|&i| byte_at(i) == Some(byte));
                let end = range.start + same.count();
                waiting.push_back((nodes.len(), range.start..end, depth + 1));
                nodes.push(TrieNode { byte, ..root });
                count += 1;
                range.start = end;
            }
            if let Some(node) = nodes.get_mut(node) {
                node.first = first;
                node.count = count;
            }
        }
        Ok(Trie { nodes })
    }

    /// Hands over the length and the token of every text that `text` begins with, the shortest
    /// first.
    pub(super) fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let Some(mut node) = self.nodes.first() else {
            return;
        };
        for (index, byte) in text.iter().enumerate() {
            let first = node.first as usize;
            let children = self.nodes.get(first..first + usize::from(node.count));
            let children = children.unwrap_or_default();
            let place = children.binary_search_by_key(byte, |child| child.byte);
            let Some(child) = place.ok().and_then(|place| children.get(place)) else {
                return;
            };
            node = child;
            if let Some(token) = node.token {
                found(index + 1, token);
            }
        }
    }

    /// The longest of them.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        self.longest_that(text, &|_| true)
    }

    /// The longest of them that is allowed.
    pub(super) fn longest_that(
        &self,
        text: &[u8],
        allows: &impl Fn(u32) -> bool,
    ) -> Option<(usize, u32)> {
        let mut longest = None;
        self.prefixes(text, |len, token| {
            if allows(token) {
                longest = Some((len, token));
            }
        });
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_found_once() {
        let texts: [(&[u8], u32); 7] = [
            (b"the", 1),
            (b"t", 2),
            (b"then", 3),
            (b"", 4),
            (b"a\xff", 5),
            (b"the", 6),
            (b"tz", 7),
        ];
        let trie = Trie::new(texts.to_vec()).expect("short");
        let of = |text: &[u8]| {
            let mut found = Vec::new();
            trie.prefixes(text, |len, token| found.push((len, token)));
            found
        };
        assert_eq!(of(b"theniness"), [(1, 2), (3, 6), (4, 3)]);
        assert_eq!(of(b"tzz"), [(1, 2), (2, 7)]);
        assert_eq!(of(b"a\xff\xff"), [(2, 5)]);
        assert_eq!(of(b"a"), []);
        assert_eq!(of(b""), []);
        assert_eq!(trie.longest(b"then"), Some((4, 3)));
        assert_eq!(Trie::default().longest(b"x"), None);
    }
}
