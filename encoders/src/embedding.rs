//! A matrix of embeddings in memory. Owns bringing rows to unit length. Invariant: every row has unit length; only a
//! row of zeros, which no direction can be read from, stays as it is.

use crate::error::EncoderError;

/// Unit-length embeddings, row by row.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Embeddings {
    dimension: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// Wraps `rows × dimension` values.
    #[must_use]
    pub fn new(dimension: usize, values: Vec<f32>) -> Embeddings {
        debug_assert!(dimension > 0 && values.len().is_multiple_of(dimension), "whole rows");
        Embeddings { dimension, values }
    }

    /// Wraps `rows × dimension` values of any length after dividing each row by its length.
    ///
    /// # Errors
    /// [`EncoderError::NotFinite`] when a row has a value that is not finite; `name` says whose.
    pub fn normalized(name: &str, dimension: usize, mut values: Vec<f32>) -> Result<Embeddings, EncoderError> {
        for (row, vector) in values.chunks_exact_mut(dimension.max(1)).enumerate() {
            // In f64, so that the length is right to the last bit of f32 for any dimension.
            let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if !length.is_finite() {
                return Err(EncoderError::NotFinite { name: name.to_owned(), row });
            }
            if length > 0.0 {
                vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
            }
        }
        Ok(Embeddings::new(dimension, values))
    }

    /// Length of an embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimension).unwrap_or(0)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimension.max(1))
    }

    /// The embedding of a row.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..(row + 1) * self.dimension]
    }

    /// All values, row after row.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_get_unit_length_and_zeros_stay_zeros() {
        let embeddings = Embeddings::normalized("m", 2, vec![3.0, 4.0, 0.0, 0.0, 1e-30, 0.0]).unwrap();
        assert_eq!(embeddings.row(0), [0.6, 0.8]);
        assert_eq!(embeddings.row(1), [0.0, 0.0]);
        assert_eq!(embeddings.row(2), [1.0, 0.0]);
        assert_eq!((embeddings.len(), embeddings.rows().len()), (3, 3));
    }

    #[test]
    fn values_that_are_not_finite_are_an_error_that_names_the_row() {
        for bad in [f32::NAN, f32::INFINITY] {
            let error = Embeddings::normalized("m", 2, vec![1.0, 0.0, bad, 0.0]).unwrap_err();
            assert!(matches!(error, EncoderError::NotFinite { row: 1, .. }), "{error}");
        }
    }
}
