//! The forward passes. Owns the layout in which sequences are computed and the layers; reading files, tokenising and
//! decoding pictures is done before, unit length after. Invariant: sequences are packed one after the other without
//! padding, every layer works row by row or sequence by sequence, so a sequence's result does not depend on the
//! sequences beside it, and no mask brings −∞ into half precision.

mod aligned;
#[cfg(target_arch = "x86_64")]
mod amx_f32_kernel;
#[cfg(target_arch = "x86_64")]
mod amx_kernel;
mod attention;
mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_attention;
mod bf16_kernel;
mod block;
mod cpu_attention;
mod cpu_functions;
mod cpu_kernels;
mod cpu_linear;
#[cfg(target_arch = "x86_64")]
mod f32_tiles;
mod fused;
pub(crate) mod image;
pub(crate) mod layers;
mod packed;
pub(crate) mod settings;
#[cfg(target_arch = "x86_64")]
mod split;
pub(crate) mod text;
pub(crate) mod text_families;
