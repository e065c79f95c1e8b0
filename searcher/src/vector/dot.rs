//! Inner products of stored `f16` embeddings and a query's `f32` one. Owns that loop; not what it means.
//! Invariants: the sum has one order on every machine, for every vector width, and whether one embedding is asked for or many, so
//! scores do not depend on any of them; with a finite query it is finite, whatever is stored.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m512;

use half::f16;

/// Sums kept apart: four registers of eight, or two of sixteen.
const LANES: usize = 32;

/// Σ stored · query, in `f32`. The query must be finite; what is stored and is not counts as some large number. The shorter length
/// counts.
#[must_use]
pub fn dot(stored: &[f16], query: &[f32]) -> f32 {
    let mut product = [0.0];
    dots(stored, stored.len(), [0], query, &mut product);
    product[0]
}

/// [`dot`] of many embeddings of `dimension` values each that lie one after the other in `stored`: `products` gets those of the
/// embeddings at `places`, in their order. As long as the shorter of the two lists; an embedding that lies outside has product 0.
///
/// Faster than one by one: the instructions are chosen once, and what is read lies in a row.
pub(super) fn dots(
    stored: &[f16],
    dimension: usize,
    places: impl IntoIterator<Item = usize>,
    query: &[f32],
    products: &mut [f32],
) {
    let dots = Dots { stored, dimension, places, query, products };
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V4::try_new() {
        return pulp::Simd::vectorize(simd, WideDots { simd, dots });
    }
    pulp::Arch::new().dispatch(dots);
}

/// The loop, compiled by pulp once for each instruction set; the best one of the machine is chosen at run time. Without
/// fused multiply-add, which Rust never introduces by itself, all of them round alike.
struct Dots<'a, Places> {
    stored: &'a [f16],
    dimension: usize,
    places: Places,
    query: &'a [f32],
    products: &'a mut [f32],
}

impl<Places: IntoIterator<Item = usize>> Dots<'_, Places> {
    #[inline(always)]
    fn run<Arithmetic: ChunkArithmetic>(self, arithmetic: Arithmetic) {
        let length = self.dimension.min(self.query.len());
        let (query, query_rest) = self.query[..length].as_chunks();
        let padded_query = pad(query_rest);
        for (place, product) in self.places.into_iter().zip(self.products) {
            let embedding = self.stored.get(place * self.dimension..).and_then(|rest| rest.get(..self.dimension));
            let Some(embedding) = embedding else {
                *product = 0.0;
                continue;
            };
            let (chunks, rest) = embedding[..length].as_chunks();
            let rest = (!rest.is_empty()).then(|| (pad(rest), padded_query));
            *product = product_of(arithmetic, chunks, query, rest.as_ref());
            // A damaged file can hold infinities and what is no number. The portable way takes them for large numbers.
            if !product.is_finite() {
                *product = product_of(Portable, chunks, query, rest.as_ref());
            }
        }
    }
}

/// The inner product of an embedding and the query, both in chunks; `rest` is the last, padded one of each.
#[inline(always)]
fn product_of<Arithmetic: ChunkArithmetic>(
    arithmetic: Arithmetic,
    stored: &[[f16; LANES]],
    query: &[[f32; LANES]],
    rest: Option<&([f16; LANES], [f32; LANES])>,
) -> f32 {
    let mut sums = arithmetic.zero();
    for (stored, query) in stored.iter().zip(query) {
        arithmetic.add(&mut sums, stored, query);
    }
    if let Some((stored, query)) = rest {
        arithmetic.add(&mut sums, stored, query);
    }
    arithmetic.total(sums)
}

/// What does not fill a chunk, with zeros behind it, which add nothing.
#[inline(always)]
fn pad<T: Copy + Default>(rest: &[T]) -> [T; LANES] {
    let mut padded = [T::default(); LANES];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

impl<Places: IntoIterator<Item = usize>> pulp::WithSimd for Dots<'_, Places> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        self.run(Portable);
    }
}

/// How the sums of the lanes are kept. A trait instead of closures because those are not always inlined, and what is not inlined
/// is compiled without the wide instructions.
trait ChunkArithmetic: Copy {
    type Sums;
    fn zero(self) -> Self::Sums;
    /// Adds each lane's product to its sum.
    fn add(self, sums: &mut Self::Sums, stored: &[f16; LANES], query: &[f32; LANES]);
    /// The sum of all lanes, halving their number again and again.
    fn total(self, sums: Self::Sums) -> f32;
}

/// For the compiler to vectorise with whatever instructions there are.
#[derive(Clone, Copy)]
struct Portable;

impl ChunkArithmetic for Portable {
    type Sums = [f32; LANES];

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [0.0; LANES]
    }

    #[inline(always)]
    fn add(self, sums: &mut Self::Sums, stored: &[f16; LANES], query: &[f32; LANES]) {
        for lane in 0..LANES {
            sums[lane] += widen(stored[lane]) * query[lane];
        }
    }

    #[inline(always)]
    fn total(self, sums: Self::Sums) -> f32 {
        let sums = halve::<8, 4>(halve::<16, 8>(halve::<32, 16>(sums)));
        let [sum] = halve::<2, 1>(halve::<4, 2>(sums));
        sum
    }
}

/// The sums of the lanes of both halves.
#[inline(always)]
fn halve<const N: usize, const HALF: usize>(sums: [f32; N]) -> [f32; HALF] {
    std::array::from_fn(|lane| sums[lane] + sums[lane + HALF])
}

/// With AVX-512's conversion of 16 halves.
#[cfg(target_arch = "x86_64")]
impl ChunkArithmetic for pulp::x86::V4 {
    type Sums = (__m512, __m512);

    #[inline(always)]
    fn zero(self) -> Self::Sums {
        (self.avx512f._mm512_setzero_ps(), self.avx512f._mm512_setzero_ps())
    }

    #[inline(always)]
    fn add(self, (left, right): &mut Self::Sums, stored: &[f16; LANES], query: &[f32; LANES]) {
        let simd = self.avx512f;
        // A register at a time: two of them as one array would go by way of memory.
        let (left_stored, right_stored) = halves(stored);
        let (left_query, right_query) = halves(query);
        let left_product = simd._mm512_mul_ps(simd._mm512_cvtph_ps(pulp::cast(*left_stored)), pulp::cast(*left_query));
        let right_product =
            simd._mm512_mul_ps(simd._mm512_cvtph_ps(pulp::cast(*right_stored)), pulp::cast(*right_query));
        *left = simd._mm512_add_ps(*left, left_product);
        *right = simd._mm512_add_ps(*right, right_product);
    }

    #[inline(always)]
    fn total(self, (left, right): Self::Sums) -> f32 {
        self.avx512f._mm512_reduce_add_ps(self.avx512f._mm512_add_ps(left, right))
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn halves<T>(chunk: &[T; LANES]) -> (&[T; LANES / 2], &[T; LANES / 2]) {
    match chunk.as_chunks().0 {
        [left, right] => (left, right),
        _ => unreachable!("twice {} are {LANES}", LANES / 2),
    }
}

#[cfg(target_arch = "x86_64")]
struct WideDots<'a, Places> {
    simd: pulp::x86::V4,
    dots: Dots<'a, Places>,
}

#[cfg(target_arch = "x86_64")]
impl<Places: IntoIterator<Item = usize>> pulp::WithSimd for WideDots<'_, Places> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        self.dots.run(self.simd);
    }
}

/// `f16` → `f32` for finite numbers, without branches, so that the compiler can do many at once. With its sign extended to 32
/// bits, exponent and fraction move to their places in an `f32`, the sign's copies before the exponent are cleared, and
/// the exponents' difference in bias, 112, is added. A subnormal `f16` has no leading 1: it gets one, which is then subtracted.
///
/// Multiplying by 2¹¹² would be shorter, but its operand is subnormal for such a number, which costs the processor some hundred
/// cycles; one value of a thousand in the embeddings of real models is.
#[inline(always)]
fn widen(value: f16) -> f32 {
    /// 2⁻¹⁴, the least normal `f16`, as the bits of an `f32`.
    const LEAST_NORMAL: u32 = 113 << 23;
    let extended = i32::from(value.to_bits().cast_signed()).cast_unsigned();
    let moved = (extended << 13) & 0x8fff_ffff;
    let is_subnormal = moved & 0x0f80_0000 == 0;
    let bias = if is_subnormal { LEAST_NORMAL } else { 112 << 23 };
    let leading = if is_subnormal { moved & 0x8000_0000 | LEAST_NORMAL } else { 0 };
    f32::from_bits(moved + bias) - f32::from_bits(leading)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_finite_number_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let value = f16::from_bits(bits);
            if value.is_finite() {
                assert_eq!(widen(value), value.to_f32(), "{bits:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn many_are_as_each_alone_and_the_same_on_every_machine(
            values in prop::collection::vec(-1.0f32..1.0, 1..600),
            damaged in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>()), 0..3),
            (dimension, shorter) in (1usize..100, 0usize..3),
        ) {
            let mut stored: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
            for (place, bits) in damaged {
                *place.get_mut(&mut stored) = f16::from_bits(bits);
            }
            let query: Vec<f32> = values.iter().rev().cycle().take(dimension.saturating_sub(shorter)).copied().collect();
            // Every other one, and one that is not there.
            let places = || (0..=stored.len() / dimension).step_by(2).chain([usize::MAX / dimension]);
            let (mut many, mut plain) = (vec![1.0; places().count()], vec![1.0; places().count()]);
            dots(&stored, dimension, places(), &query, &mut many);
            let dots = Dots { stored: &stored, dimension, places: places(), query: &query, products: &mut plain };
            pulp::WithSimd::with_simd(dots, pulp::Scalar::new());
            for ((place, many), plain) in places().zip(&many).zip(&plain) {
                let embedding = stored.get(place * dimension..).and_then(|rest| rest.get(..dimension));
                let alone = embedding.map_or(0.0, |embedding| dot(embedding, &query));
                prop_assert!(alone.is_finite());
                prop_assert_eq!(alone.to_bits(), many.to_bits());
                prop_assert_eq!(alone.to_bits(), plain.to_bits());
            }
        }

        #[test]
        fn what_is_no_number_is_some_large_number(bits in prop::collection::vec(0x7c00u16..=0x7fff, 1..80)) {
            let stored: Vec<f16> = bits.iter().map(|bits| f16::from_bits(*bits)).collect();
            let mut plain = [0.0];
            let query = vec![-1.0; stored.len()];
            let dots = Dots { stored: &stored, dimension: stored.len(), places: [0], query: &query, products: &mut plain };
            pulp::WithSimd::with_simd(dots, pulp::Scalar::new());
            prop_assert!(plain[0] <= -65_536.0 && plain[0].is_finite());
            prop_assert_eq!(dot(&stored, &query).to_bits(), plain[0].to_bits());
        }

        #[test]
        fn is_the_inner_product(pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 0..200)) {
            let stored: Vec<f16> = pairs.iter().map(|(stored, _)| f16::from_f32(*stored)).collect();
            let query: Vec<f32> = pairs.iter().map(|(_, query)| *query).collect();
            let exact: f64 = stored.iter().zip(&query).map(|(a, b)| a.to_f64() * f64::from(*b)).sum();
            prop_assert!((f64::from(dot(&stored, &query)) - exact).abs() < 1e-4);
        }
    }
}
