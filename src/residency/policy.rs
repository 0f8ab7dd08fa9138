//! Which expert leaves when another comes.

/// How a cache chooses what leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// What was used longest ago.
    Lru,
    /// What was used once leaves before what was used again since it came, of which no more than
    /// four fifths of the places are kept (segmented LRU).
    Slru,
    /// What was used least often, whether it was in memory or not; of several what came last, so that
    /// the others stay. Counts are halved now and then, so that the past counts less.
    Frequency,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 3] = [Policy::Lru, Policy::Slru, Policy::Frequency];

    /// The one for a cache of so many places where a token asks for `demand` experts: see
    /// `docs/memory.md` for the evidence. What is used in turn pushes itself out of a smaller cache
    /// before it is used again, unless some of it stays.
    pub fn fit(places: usize, demand: usize) -> Policy {
        match places {
            _ if places < demand => Policy::Frequency,
            _ if places < 2 * demand => Policy::Lru,
            _ => Policy::Slru,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Lru => "lru",
            Policy::Slru => "slru",
            Policy::Frequency => "frequency",
        }
    }
}

/// Uses of an expert, on average, after which counts are halved.
const HALVED: u64 = 16;

/// What is known of a place.
#[derive(Clone, Copy, Debug, Default)]
struct PlaceUse {
    /// The expert that is in it.
    expert: Option<usize>,
    /// When it was used last.
    last: u64,
    /// Whether it was used again since it came.
    protected: bool,
}

/// The uses of a cache's places.
#[derive(Clone, Debug)]
pub struct PolicyUses {
    policy: Policy,
    places: Vec<PlaceUse>,
    /// How often each expert was used.
    counts: Vec<u64>,
    now: u64,
    protected: usize,
}

impl PolicyUses {
    /// Of so many places for some of so many experts.
    pub fn new(policy: Policy, places: usize, experts: usize) -> PolicyUses {
        PolicyUses {
            policy,
            places: vec![PlaceUse::default(); places],
            counts: vec![0; experts],
            now: 0,
            protected: 0,
        }
    }

    /// What is in a place was used.
    pub fn touch(&mut self, place: usize) {
        self.used(place);
        if self.policy == Policy::Slru && !self.places[place].protected {
            self.places[place].protected = true;
            self.protected += 1;
            if self.protected > self.places.len() * 4 / 5 {
                self.demote();
            }
        }
    }

    /// An expert came into a place and was used.
    pub fn replace(&mut self, place: usize, expert: usize) {
        self.clear(place);
        self.places[place].expert = Some(expert);
        self.used(place);
    }

    /// Nothing is in a place any more.
    pub fn clear(&mut self, place: usize) {
        let was = std::mem::take(&mut self.places[place]);
        self.protected -= usize::from(was.protected);
    }

    /// Of the places that `may` lose what is in them the one that does.
    pub fn victim(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let places = self.places.iter().enumerate();
        let places = places.filter(|(place, _)| may(*place));
        let first = places.min_by_key(|(_, used)| match self.policy {
            Policy::Lru => (0, used.last),
            Policy::Slru => (u64::from(used.protected), used.last),
            // What is empty comes first.
            Policy::Frequency => match used.expert {
                None => (0, 0),
                Some(expert) => (self.counts[expert] + 1, u64::MAX - used.last),
            },
        });
        first.map(|(place, _)| place)
    }

    fn used(&mut self, place: usize) {
        self.now += 1;
        self.places[place].last = self.now;
        if let Some(expert) = self.places[place].expert {
            self.counts[expert] += 1;
        }
        if self.now.is_multiple_of(HALVED * self.counts.len() as u64) {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    fn demote(&mut self) {
        let protected = self.places.iter_mut().filter(|used| used.protected);
        if let Some(oldest) = protected.min_by_key(|used| used.last) {
            oldest.protected = false;
            self.protected -= 1;
        }
    }
}
