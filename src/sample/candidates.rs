//! The tokens that are still in question.

use std::ops::Range;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    logit: f32,
    /// Its probability among those left; valid after [`Candidates::softmax`].
    p: f32,
    token: u32,
}

/// Candidates, in the vocabulary's order or most likely first.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    left: Vec<Candidate>,
    sorted: bool,
}

impl Candidates {
    pub fn new(vocabulary: usize) -> Candidates {
        Candidates {
            left: Vec::with_capacity(vocabulary),
            sorted: false,
        }
    }

    /// All tokens; what is not a number counts as impossible.
    pub fn fill(&mut self, logits: &[f32]) {
        self.left.clear();
        self.sorted = false;
        let candidate = |(&logit, token): (&f32, u32)| Candidate {
            logit: if logit.is_nan() {
                f32::NEG_INFINITY
            } else {
                logit
            },
            p: 0.0,
            token,
        };
        self.left.extend(logits.iter().zip(0..).map(candidate));
    }

    /// Adds to one token's logit. Only before anything was dropped.
    pub fn bias(&mut self, token: u32, bias: f32) {
        if let Some(candidate) = self.left.get_mut(token as usize) {
            candidate.logit += bias;
        }
    }

    /// Changes logits.
    pub fn change(&mut self, to: impl Fn(u32, f32) -> f32) {
        for candidate in &mut self.left {
            candidate.logit = to(candidate.token, candidate.logit);
        }
        self.sorted = false;
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.left.sort_unstable_by(by_logit);
            self.sorted = true;
        }
    }

    fn highest(&self) -> f32 {
        let logits = self.left.iter().map(|candidate| candidate.logit);
        logits.fold(f32::NEG_INFINITY, f32::max)
    }

    fn softmax(&mut self) {
        let highest = self.highest();
        let mut sum = 0.0;
        for candidate in &mut self.left {
            // Of infinities, each counts as much.
            let below = candidate.logit - highest;
            candidate.p = if below.is_nan() { 1.0 } else { below.exp() };
            sum += f64::from(candidate.p);
        }
        for candidate in &mut self.left {
            candidate.p = (f64::from(candidate.p) / sum) as f32;
        }
    }

    pub fn top_k(&mut self, k: usize, keep: usize) {
        if k == 0 || self.left.len() <= k.max(keep) {
            return;
        }
        let k = k.max(keep);
        if !self.sorted {
            self.left.select_nth_unstable_by(k - 1, by_logit);
        }
        self.left.truncate(k);
        self.sort();
    }

    pub fn top_p(&mut self, p: f32, keep: usize) {
        if p >= 1.0 {
            return;
        }
        self.softmax();
        self.sort();
        let mut sum = 0.0;
        let reached = self.left.iter().enumerate().position(|(index, candidate)| {
            sum += f64::from(candidate.p);
            sum >= f64::from(p) && index + 1 >= keep
        });
        if let Some(last) = reached {
            self.left.truncate(last + 1);
        }
    }

    pub fn min_p(&mut self, p: f32, keep: usize) {
        if p <= 0.0 {
            return;
        }
        let least = self.highest() + p.ln();
        let enough = self
            .left
            .iter()
            .filter(|candidate| candidate.logit >= least)
            .count();
        if enough >= keep {
            self.left.retain(|candidate| candidate.logit >= least);
        } else {
            self.sort();
            self.left.truncate(keep);
        }
    }

    pub fn typical_p(&mut self, p: f32, keep: usize) {
        if p >= 1.0 {
            return;
        }
        self.softmax();
        let entropy: f32 = self.left.iter().map(|candidate| -plogp(candidate.p)).sum();
        let distance = |candidate: &Candidate| (-candidate.p.ln() - entropy).abs();
        self.left.sort_unstable_by(|a, b| {
            let order = distance(a).total_cmp(&distance(b));
            order.then(a.token.cmp(&b.token))
        });
        self.sorted = false;
        let mut sum = 0.0;
        let reached = self.left.iter().enumerate().position(|(index, candidate)| {
            sum += f64::from(candidate.p);
            sum > f64::from(p) && index + 1 >= keep
        });
        if let Some(last) = reached {
            self.left.truncate(last + 1);
        }
    }

    pub fn top_n_sigma(&mut self, n: f32) {
        if n <= 0.0 || self.left.len() < 2 {
            return;
        }
        let logits = self.left.iter().map(|candidate| f64::from(candidate.logit));
        let logits = logits.filter(|logit| logit.is_finite());
        let count = logits.clone().count().max(1) as f64;
        let mean = logits.clone().sum::<f64>() / count;
        let variance = logits.map(|logit| (logit - mean).powi(2)).sum::<f64>() / count;
        let least = f64::from(self.highest()) - f64::from(n) * variance.sqrt();
        self.left
            .retain(|candidate| f64::from(candidate.logit) >= least);
    }

    pub fn xtc(
        &mut self,
        (probability, threshold): (f32, f32),
        keep: usize,
        random: &mut fastrand::Rng,
    ) {
        if probability <= 0.0 || threshold > 0.5 || self.left.len() < 2 {
            return;
        }
        if random.f32() > probability {
            return;
        }
        self.softmax();
        self.sort();
        let above = self
            .left
            .iter()
            .take_while(|candidate| candidate.p >= threshold)
            .count();
        // The least likely of them stays.
        let dropped = above.saturating_sub(1);
        if dropped > 0 && self.left.len() - dropped >= keep {
            self.left.drain(..dropped);
        }
    }

    pub fn temperature(&mut self, temperature: f32) {
        let best = self.left.iter().map(|candidate| candidate.logit);
        let best = best.reduce(f32::max).unwrap_or(0.0);
        // So little warmth leaves the best ones alone, but not where all of them are infinite.
        let shift = match best.is_finite() && !(best / temperature).is_finite() {
            true => best,
            false => 0.0,
        };
        for candidate in &mut self.left {
            candidate.logit = (candidate.logit - shift) / temperature;
        }
    }

    /// A temperature within `range`, by the candidates' entropy as a share of the largest there
    /// could be.
    pub fn dynamic_temperature(&mut self, range: Range<f32>, exponent: f32) {
        if self.left.len() < 2 {
            return;
        }
        self.softmax();
        let entropy: f32 = self.left.iter().map(|candidate| -plogp(candidate.p)).sum();
        let share = (entropy / (self.left.len() as f32).ln()).clamp(0.0, 1.0);
        let temperature = range.start + (range.end - range.start) * share.powf(exponent);
        if temperature > 0.0 {
            self.temperature(temperature);
        } else {
            self.best_alone();
        }
    }

    pub fn best_alone(&mut self) {
        if let Some(&best) = self.left.iter().min_by(|a, b| by_logit(a, b)) {
            self.left.clear();
            self.left.push(best);
        }
    }

    /// What is left, with probabilities.
    pub fn probabilities(&mut self) -> Vec<(u32, f32)> {
        self.softmax();
        self.left.iter().map(|c| (c.token, c.p)).collect()
    }

    /// A token by its probability; 0 if there is none.
    pub fn draw(&mut self, random: &mut fastrand::Rng) -> u32 {
        self.softmax();
        let drawn = self.drawn(random);
        self.left.get(drawn).map_or(0, |candidate| candidate.token)
    }

    /// The place of a candidate, by its probability.
    fn drawn(&self, random: &mut fastrand::Rng) -> usize {
        let sum: f64 = self
            .left
            .iter()
            .map(|candidate| f64::from(candidate.p))
            .sum();
        let mut left = random.f64() * sum;
        let reached = self.left.iter().position(|candidate| {
            left -= f64::from(candidate.p);
            candidate.p > 0.0 && left <= 0.0
        });
        // Rounding may leave a crumb behind the last candidate; impossible ones leave none.
        reached.unwrap_or_else(|| self.left.iter().rposition(|c| c.p > 0.0).unwrap_or(0))
    }

    /// A token no more surprising than `mu` bits, if there is one, and its surprise.
    pub fn surprising(&mut self, mu: f32, random: &mut fastrand::Rng) -> (u32, f32) {
        self.softmax();
        self.sort();
        let expected = self
            .left
            .partition_point(|candidate| -candidate.p.log2() <= mu);
        self.left.truncate(expected.max(1));
        self.softmax();
        let drawn = self.drawn(random);
        let drawn = self.left.get(drawn);
        drawn.map_or((0, 0.0), |drawn| (drawn.token, -drawn.p.log2()))
    }
}

/// Most likely first; of equals, the first of the vocabulary.
fn by_logit(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// p · ln p, which is zero at zero.
fn plogp(p: f32) -> f32 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}
