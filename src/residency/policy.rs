//! Which expert leaves when another comes.

use std::fmt;

/// How a cache chooses what leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// What was used longest ago.
    Lru,
    /// What was used once leaves before what was used again since it came, of which no more than
    /// four fifths of the places are kept (segmented LRU).
    Slru,
    /// What was used least often, of several what was used longest ago.
    Frequency,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 3] = [Policy::Lru, Policy::Slru, Policy::Frequency];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Lru => "lru",
            Policy::Slru => "slru",
            Policy::Frequency => "frequency",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a policy knows of a place and of the expert in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlaceUse {
    /// When it was used last.
    last: u64,
    /// How often, since it came.
    times: u64,
    protected: bool,
}

/// The uses of a cache's places.
#[derive(Clone, Debug)]
pub struct PolicyUses {
    policy: Policy,
    places: Vec<PlaceUse>,
    now: u64,
    protected: usize,
}

impl PolicyUses {
    /// Of so many places.
    pub fn new(policy: Policy, places: usize) -> PolicyUses {
        PolicyUses {
            policy,
            places: vec![PlaceUse::default(); places],
            now: 0,
            protected: 0,
        }
    }

    /// What is in a place was used.
    pub fn touch(&mut self, place: usize) {
        self.now += 1;
        let used = &mut self.places[place];
        (used.last, used.times) = (self.now, used.times + 1);
        if self.policy == Policy::Slru && used.times > 1 && !used.protected {
            used.protected = true;
            self.protected += 1;
            if self.protected > self.places.len() * 4 / 5 {
                self.demote();
            }
        }
    }

    /// Another expert is in a place.
    pub fn replace(&mut self, place: usize) {
        let was = std::mem::take(&mut self.places[place]);
        self.protected -= usize::from(was.protected);
    }

    /// Of the places that `may` leave the one that does.
    pub fn victim(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let places = self.places.iter().enumerate();
        let places = places.filter(|(place, _)| may(*place));
        let first = places.min_by_key(|(_, used)| match self.policy {
            Policy::Lru => (0, used.last),
            Policy::Slru => (u64::from(used.protected), used.last),
            Policy::Frequency => (used.times, used.last),
        });
        first.map(|(place, _)| place)
    }

    fn demote(&mut self) {
        let protected = self.places.iter_mut().filter(|used| used.protected);
        if let Some(oldest) = protected.min_by_key(|used| used.last) {
            oldest.protected = false;
            self.protected -= 1;
        }
    }
}
