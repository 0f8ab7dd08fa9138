//! From logits to a token.

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleOptions {
    /// Divides the logits; 0 always takes the most likely token.
    pub temperature: f32,
    /// Keeps the most likely tokens whose probabilities reach this sum (Holtzman et al. 2020).
    pub top_p: f32,
    /// Makes the choices repeatable.
    pub seed: u64,
}

impl Default for SampleOptions {
    fn default() -> SampleOptions {
        SampleOptions {
            temperature: 0.8,
            top_p: 0.95,
            seed: 0,
        }
    }
}

/// Chooses tokens. Its memory is reserved once.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SampleOptions,
    random: fastrand::Rng,
    /// (probability, token), most likely first once sorted.
    candidates: Vec<(f32, u32)>,
}

impl Sampler {
    /// A sampler over `vocabulary` tokens.
    pub fn new(options: SampleOptions, vocabulary: usize) -> Sampler {
        Sampler {
            options,
            random: fastrand::Rng::with_seed(options.seed),
            candidates: Vec::with_capacity(vocabulary),
        }
    }

    /// The next token; 0 if there are no logits.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let best = argmax(logits);
        let SampleOptions {
            temperature, top_p, ..
        } = self.options;
        if temperature <= 0.0 || logits.is_empty() {
            return best;
        }
        let max = logits[best as usize];
        self.candidates.clear();
        let weights = logits
            .iter()
            .map(|&logit| ((logit - max) / temperature).exp());
        self.candidates
            .extend(weights.zip(0..).filter(|(weight, _)| *weight > 0.0));
        let mut sum: f64 = self
            .candidates
            .iter()
            .map(|&(weight, _)| f64::from(weight))
            .sum();
        if top_p < 1.0 {
            self.candidates
                .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut kept = 0.0;
            let enough = f64::from(top_p) * sum;
            let reached = self.candidates.iter().position(|&(weight, _)| {
                kept += f64::from(weight);
                kept >= enough
            });
            if let Some(last) = reached {
                self.candidates.truncate(last + 1);
                sum = kept;
            }
        }
        let mut left = self.random.f64() * sum;
        for &(weight, token) in &self.candidates {
            left -= f64::from(weight);
            if left <= 0.0 {
                return token;
            }
        }
        // Rounding may leave a crumb behind the last candidate; NaN logits leave none.
        self.candidates.last().map_or(best, |&(_, token)| token)
    }
}

/// The index of the largest value, the first of equals; 0 if there is none.
pub fn argmax(values: &[f32]) -> u32 {
    let mut best = 0;
    for (index, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = index;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(options: SampleOptions, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(options, logits.len());
        let mut counts = vec![0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits) as usize] += 1;
        }
        counts
    }

    #[test]
    fn zero_temperature_is_greedy_and_ties_go_to_the_first() {
        let greedy = SampleOptions {
            temperature: 0.0,
            ..SampleOptions::default()
        };
        assert_eq!(counts(greedy, &[1.0, 3.0, 3.0, -1.0], 10), [0, 10, 0, 0]);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let options = SampleOptions {
            temperature: 1.0,
            top_p: 1.0,
            seed: 7,
        };
        let logits = [0.0, (2.0f32).ln(), (5.0f32).ln()]; // 1 : 2 : 5
        let counts = counts(options, &logits, 40_000);
        for (count, share) in counts.iter().zip([1.0, 2.0, 5.0]) {
            let expected = 40_000.0 * share / 8.0;
            // six standard deviations of a binomial count
            assert!(
                (*count as f64 - expected).abs() < 6.0 * f64::sqrt(expected),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn top_p_cuts_the_tail_but_keeps_the_first() {
        let options = SampleOptions {
            temperature: 1.0,
            top_p: 0.7,
            seed: 1,
        };
        let logits = [(5.0f32).ln(), 0.0, (2.0f32).ln()]; // 5/8, 1/8, 2/8
        let found = counts(options, &logits, 2_000);
        assert_eq!(found[1], 0);
        assert!(found[0] > 0 && found[2] > 0);
        let only = SampleOptions {
            top_p: 0.0,
            ..options
        };
        assert_eq!(counts(only, &logits, 50), [50, 0, 0]);
    }

    #[test]
    fn damaged_logits_give_some_token() {
        let options = SampleOptions::default();
        for logits in [
            &[f32::NAN; 3][..],
            &[f32::NEG_INFINITY; 3],
            &[f32::INFINITY, 1.0],
            &[],
        ] {
            let mut sampler = Sampler::new(options, logits.len());
            assert!((sampler.sample(logits) as usize) < logits.len().max(1));
        }
    }
}
