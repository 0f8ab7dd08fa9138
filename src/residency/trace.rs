//! Which experts a text used, and what policies would have made of it.

use super::policy::{Policy, PolicyUses};
use crate::pool::lock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

/// Notes what routes choose while a model runs.
#[derive(Debug, Default)]
pub struct Recorder {
    /// By matrix: the number of the layer that it is of.
    layers: Vec<u64>,
    choices: Mutex<Vec<RowChoice>>,
}

/// What a row chose in a layer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowChoice {
    position: u64,
    layer: u64,
    experts: Vec<u32>,
}

impl Recorder {
    /// One that knows of what layers a model's matrices are.
    pub fn of(layers: Vec<u64>) -> Recorder {
        let choices = Mutex::default();
        Recorder { layers, choices }
    }

    /// The number of a matrix's layer.
    pub fn layer(&self, matrix: u32) -> u64 {
        self.layers
            .get(matrix as usize)
            .copied()
            .unwrap_or_default()
    }

    /// A row's experts in a layer.
    pub fn note(&self, position: u64, layer: u64, experts: &[f32]) {
        let experts = experts.iter().map(|&expert| expert as u32);
        let experts = experts.collect();
        lock(&self.choices).push(RowChoice {
            position,
            layer,
            experts,
        });
    }

    /// What was noted, in the order in which rows alone would have chosen.
    pub fn trace(&self, experts: usize) -> ExpertTrace {
        let mut choices = std::mem::take(&mut *lock(&self.choices));
        choices.sort();
        // All matrices of the same experts ask.
        choices.dedup();
        let layers: BTreeSet<u64> = choices.iter().map(|choice| choice.layer).collect();
        let places: BTreeMap<u64, usize> = layers.iter().copied().zip(0..).collect();
        let positions: BTreeSet<u64> = choices.iter().map(|choice| choice.position).collect();
        let choices = choices.into_iter();
        ExpertTrace {
            experts,
            layers: layers.into_iter().collect(),
            tokens: positions.len(),
            choices: choices
                .map(|choice| (places[&choice.layer], choice.experts))
                .collect(),
        }
    }
}

/// The experts of a text's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpertTrace {
    /// Experts of a layer.
    pub experts: usize,
    /// Numbers of the layers that have some.
    pub layers: Vec<u64>,
    /// Tokens.
    pub tokens: usize,
    /// Token by token, layer by layer: which of those layers, and what the token chose there.
    pub choices: Vec<(usize, Vec<u32>)>,
}

/// What decides which experts are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replayed {
    /// A policy that a cache can follow.
    Online(Policy),
    /// Those used most often in the whole text never leave once they have come.
    Pinned,
    /// What is used again last leaves (Belády 1966): no policy does better.
    Belady,
}

impl Replayed {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Replayed> {
        let online = Policy::ALL.into_iter().map(Replayed::Online);
        online.chain([Replayed::Pinned, Replayed::Belady])
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Replayed::Online(policy) => policy.name(),
            Replayed::Pinned => "pinned",
            Replayed::Belady => "belady",
        }
    }
}

impl ExpertTrace {
    /// Experts that a token asks for in all layers.
    pub fn demand(&self) -> usize {
        self.asked() / self.tokens.max(1)
    }

    /// Experts asked for, all tokens' together.
    pub fn asked(&self) -> usize {
        self.choices.iter().map(|(_, experts)| experts.len()).sum()
    }

    /// How often each expert of each layer was chosen.
    pub fn counts(&self) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; self.experts]; self.layers.len()];
        for (layer, experts) in &self.choices {
            for &expert in experts {
                if let Some(count) = counts[*layer].get_mut(expert as usize) {
                    *count += 1;
                }
            }
        }
        counts
    }

    /// The share of a token's experts that the token before chose as well.
    pub fn repeated(&self) -> f64 {
        let mut before: HashMap<usize, &[u32]> = HashMap::new();
        let (mut again, mut all) = (0, 0);
        for (layer, experts) in &self.choices {
            if let Some(before) = before.insert(*layer, experts) {
                again += experts
                    .iter()
                    .filter(|expert| before.contains(expert))
                    .count();
                all += experts.len();
            }
        }
        again as f64 / all.max(1) as f64
    }

    /// The share of requests that a cache of so many experts would have had in memory.
    pub fn hit_rate(&self, policy: Replayed, places: usize) -> f64 {
        let hits = match policy {
            Replayed::Online(policy) => self.online(policy, places),
            Replayed::Pinned => self.pinned(places),
            Replayed::Belady => self.belady(places),
        };
        hits as f64 / self.asked().max(1) as f64
    }

    /// The experts of each phase, by one number for layer and expert.
    fn phases(&self) -> impl Iterator<Item = Vec<usize>> {
        self.choices.iter().map(|(layer, experts)| {
            let number = |&expert: &u32| layer * self.experts + expert as usize;
            experts.iter().map(number).collect()
        })
    }

    fn online(&self, policy: Policy, places: usize) -> usize {
        let mut uses = PolicyUses::new(policy, places, self.experts * self.layers.len());
        let mut held: Vec<Option<usize>> = vec![None; places];
        let mut place_of: HashMap<usize, usize> = HashMap::new();
        let mut hits = 0;
        for phase in self.phases() {
            for expert in &phase {
                if let Some(&place) = place_of.get(expert) {
                    uses.touch(place);
                    hits += 1;
                }
            }
            for &expert in &phase {
                if place_of.contains_key(&expert) {
                    continue;
                }
                let leaves = |expert: usize| !phase.contains(&expert);
                let Some(place) = uses.victim(|place| held[place].is_none_or(leaves)) else {
                    continue;
                };
                if let Some(old) = held[place].replace(expert) {
                    place_of.remove(&old);
                }
                uses.replace(place, expert);
                place_of.insert(expert, place);
            }
        }
        hits
    }

    fn pinned(&self, places: usize) -> usize {
        let counts = self.counts();
        let mut counts: Vec<usize> = counts.into_iter().flatten().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let again = |count: &usize| count.saturating_sub(1);
        counts.iter().take(places).map(again).sum()
    }

    fn belady(&self, places: usize) -> usize {
        let asked: Vec<usize> = self.phases().flatten().collect();
        // When each request's expert is asked for again.
        let mut next = vec![usize::MAX; asked.len()];
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (at, expert) in asked.iter().enumerate().rev() {
            if let Some(later) = last.insert(*expert, at) {
                next[at] = later;
            }
        }
        // By when it is asked for again: the last leaves, and what comes later than all does not stay.
        let mut held: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut hits = 0;
        for (at, &expert) in asked.iter().enumerate() {
            hits += usize::from(held.remove(&(at, expert)));
            held.insert((next[at], expert));
            if held.len() > places {
                held.pop_last();
            }
        }
        hits
    }
}
