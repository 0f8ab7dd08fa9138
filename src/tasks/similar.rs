//! How near vectors are.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How two vectors are compared: more is nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Similarity {
    /// The cosine of the angle between them.
    #[default]
    Cosine,
    /// Their inner product.
    Dot,
    /// Their distance, negative.
    Euclidean,
    /// The sum of their dimensions' distances, negative.
    Manhattan,
}

impl Similarity {
    /// All of them.
    pub const ALL: [Similarity; 4] = [
        Similarity::Cosine,
        Similarity::Dot,
        Similarity::Euclidean,
        Similarity::Manhattan,
    ];

    /// sentence-transformers' name of it.
    pub fn name(self) -> &'static str {
        match self {
            Similarity::Cosine => "cosine",
            Similarity::Dot => "dot",
            Similarity::Euclidean => "euclidean",
            Similarity::Manhattan => "manhattan",
        }
    }

    /// How near two vectors of one length are.
    ///
    /// ```
    /// use rillm::tasks::Similarity;
    ///
    /// let (a, b) = ([3.0, 4.0], [4.0, 3.0]);
    /// assert_eq!(Similarity::Cosine.of(&a, &b), 0.96);
    /// assert_eq!(Similarity::Dot.of(&a, &b), 24.0);
    /// assert_eq!(Similarity::Manhattan.of(&a, &b), -2.0);
    /// ```
    pub fn of(self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let sum = |of: fn((f64, f64)) -> f64| pairs().map(of).sum::<f64>();
        let similarity = match self {
            Similarity::Dot => sum(|(a, b)| a * b),
            Similarity::Cosine => {
                let lengths = sum(|(a, _)| a * a).sqrt() * sum(|(_, b)| b * b).sqrt();
                // A vector of zeros points nowhere.
                sum(|(a, b)| a * b) / lengths.max(f64::MIN_POSITIVE)
            }
            Similarity::Euclidean => -sum(|(a, b)| (a - b) * (a - b)).sqrt(),
            Similarity::Manhattan => -sum(|(a, b)| (a - b).abs()),
        };
        similarity as f32
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no similarity has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSimilarity(String);

impl fmt::Display for UnknownSimilarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Similarity::ALL.map(Similarity::name).join(", ");
        write!(
            f,
            "there is no similarity {:?}, expected one of {names}",
            self.0
        )
    }
}

impl std::error::Error for UnknownSimilarity {}

impl FromStr for Similarity {
    type Err = UnknownSimilarity;

    fn from_str(name: &str) -> Result<Similarity, UnknownSimilarity> {
        let mut all = Similarity::ALL.into_iter();
        let found = all.find(|similarity| similarity.name() == name);
        found.ok_or_else(|| UnknownSimilarity(name.to_string()))
    }
}

/// One of a corpus's texts, and how near it is to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchHit {
    /// Which text, counted from 0.
    pub corpus_id: usize,
    /// How near it is: more is nearer.
    pub score: f32,
}

/// The `top_k` vectors of `corpus` that are nearest to `query`, the nearest first; of equals, in
/// their order.
pub fn semantic_search(
    query: &[f32],
    corpus: &[Vec<f32>],
    top_k: usize,
    similarity: Similarity,
) -> Vec<SearchHit> {
    let scores = corpus.iter().map(|vector| similarity.of(query, vector));
    best(scores, top_k)
}

/// The largest scores, the largest first.
pub(super) fn best(scores: impl Iterator<Item = f32>, top_k: usize) -> Vec<SearchHit> {
    let hits = scores.enumerate();
    let mut hits: Vec<SearchHit> = hits
        .map(|(corpus_id, score)| SearchHit { corpus_id, score })
        .collect();
    hits.sort_by(|a, b| descending(a.score, b.score));
    hits.truncate(top_k);
    hits
}

/// The larger first; what is no number last.
pub(super) fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
