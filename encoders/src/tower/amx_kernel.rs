//! The matrix product of rows in bfloat16 by the tile instructions of AMX. Owns these instructions, asking the system for
//! the tile registers, and their configuration while a product is computed; the order in which weights are packed is
//! `bf16_kernel`'s, which also chooses between the two. Invariant: an element of the product is summed in the same order
//! whatever the number of rows, so it is the same to the bit in any batch.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, `TDPBF16PS` and "Programming with Intel AMX"; Linux,
//! `Documentation/arch/x86/xstate.rst`. The compiler's intrinsics for tiles are not stable, so this file is assembly. Six of
//! the eight tile registers hold sums of 32 rows and 48 columns; the other two pass over both factors.

use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::aligned::Aligned;

/// Rows of a tile register.
pub(super) const TILE_ROWS: usize = 16;
/// Bytes of one of its rows: 16 pairs of factors, or 16 sums.
const TILE_ROW_BYTES: usize = 64;
/// Pairs of inputs that one instruction multiplies.
const PAIRS: usize = 16;
/// Columns of a panel; those of `bf16_kernel`.
const COLUMNS: usize = super::bf16_kernel::COLUMNS;
/// Rows that share each load of weights: two tiles.
const ROWS: usize = 2 * TILE_ROWS;

/// Whether rows of so many pairs are multiplied here: they fill tiles, and there are tiles.
pub(super) fn multiplies(width: usize) -> bool {
    width > 0 && width.is_multiple_of(PAIRS) && is_available()
}

/// Whether this processor has the instructions and the system lets this process use them; asked once.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && tile_registers_are_granted())
}

fn has_instructions() -> bool {
    let features = raw_cpuid::CpuId::new().get_extended_feature_info();
    features.is_some_and(|features| features.has_amx_tile() && features.has_amx_bf16())
}

/// Asks Linux for the tile registers, which it keeps from a process that did not ask: they would make every thread's saved
/// state 8 kB larger.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "system calls are")]
fn tile_registers_are_granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers and changes nothing in this process's memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn tile_registers_are_granted() -> bool {
    false
}

/// The layout of tile registers, in this thread, while it lives.
pub(super) struct Tiles {
    /// Registers belong to a thread, and so does this.
    _not_send: PhantomData<*const ()>,
}

/// What `LDTILECFG` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight registers in their full size.
static ALL_TILES: Configuration = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = TILE_ROW_BYTES as u16;
        rows[tile] = TILE_ROWS as u8;
        tile += 1;
    }
    Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

impl Tiles {
    /// Configures all registers. One at a time in a thread: the end of a second one would release the first one's
    /// registers, and the next instruction for them would end the program.
    ///
    /// # Panics
    /// Where there are none.
    #[expect(unsafe_code, reason = "assembly")]
    pub(super) fn configure() -> Tiles {
        assert!(is_available(), "tiles are configured only where there are any");
        // SAFETY: the line above has found the instructions and that the system grants their registers. It reads 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const ALL_TILES, options(nostack, readonly, preserves_flags)) };
        Tiles { _not_send: PhantomData }
    }
}

impl Drop for Tiles {
    #[expect(unsafe_code, reason = "assembly")]
    fn drop(&mut self) {
        // SAFETY: that this value exists shows that the instructions do. Nothing uses the registers any more, and released
        // ones need not be saved when the thread is.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// `rows · weightᵀ` for `rows` of `width` pairs, a multiple of [`PAIRS`], and a weight in panels of [`COLUMNS`] columns of
/// `width` pairs each, as `bf16_kernel::Panels` has them; a product of rows × `outputs`. Fastest where all three begin at a
/// cache line.
///
/// # Panics
/// Unless this file [`multiplies`] rows of that width.
pub(super) fn multiply(rows: &[u32], width: usize, panels: &[u32], outputs: usize, product: &mut [f32]) {
    assert!(multiplies(width), "only called where there are tiles, and rows fill them");
    let tiles = Tiles::configure();
    // Rows and columns that do not fill their tiles pass through here.
    let mut sums = Aligned::zeros(ROWS * COLUMNS);
    let rest = rows.chunks_exact(ROWS * width).remainder();
    let mut last_rows = Aligned::zeros(if rest.is_empty() { 0 } else { ROWS * width });
    last_rows[..rest.len()].copy_from_slice(rest);
    for (panel, first_column) in panels.chunks_exact(COLUMNS * width).zip((0..).step_by(COLUMNS)) {
        let columns = COLUMNS.min(outputs - first_column);
        for (rows, product) in rows.chunks(ROWS * width).zip(product.chunks_mut(ROWS * outputs)) {
            let target = &mut product[first_column..];
            if rows.len() == ROWS * width && columns == COLUMNS {
                multiply_tiles(&tiles, rows, width, panel, target, outputs);
                continue;
            }
            let count = rows.len() / width;
            let rows = if count == ROWS { rows } else { &last_rows };
            multiply_tiles(&tiles, rows, width, panel, &mut sums, COLUMNS);
            for (target, sums) in target.chunks_mut(outputs).zip(sums.chunks_exact(COLUMNS)).take(count) {
                target[..columns].copy_from_slice(&sums[..columns]);
            }
        }
    }
}

/// The product of [`ROWS`] rows and one panel, to rows that begin `stride` numbers apart.
#[expect(unsafe_code, reason = "assembly")]
fn multiply_tiles(_: &Tiles, rows: &[u32], width: usize, panel: &[u32], product: &mut [f32], stride: usize) {
    assert!(rows.len() == ROWS * width && panel.len() == COLUMNS * width && width.is_multiple_of(PAIRS) && width > 0);
    assert!(stride >= COLUMNS && product.len() >= (ROWS - 1) * stride + COLUMNS);
    let (rows, panel, product) = (rows.as_ptr(), panel.as_ptr(), product.as_mut_ptr());
    // SAFETY: the tiles are configured as `_` shows. Each step reads 16 pairs of 32 rows and 16 rows of the panel, and there
    // are `width / 16` steps, so by the first assertion all reads are inside the two slices; by the second, so are the
    // 48 numbers written to each of 32 rows of the product, which is borrowed mutably and so apart from both.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "2:",
            "tileloadd tmm6, [{upper} + {row_bytes}]",
            "tileloadd tmm7, [{panel} + {panel_bytes}]",
            "tdpbf16ps tmm0, tmm6, tmm7",
            "tileloadd tmm7, [{panel} + {panel_bytes} + 64]",
            "tdpbf16ps tmm1, tmm6, tmm7",
            "tileloadd tmm7, [{panel} + {panel_bytes} + 128]",
            "tdpbf16ps tmm2, tmm6, tmm7",
            // Back through the panel's three tiles, so that the last need not be loaded again.
            "tileloadd tmm6, [{lower} + {row_bytes}]",
            "tdpbf16ps tmm5, tmm6, tmm7",
            "tileloadd tmm7, [{panel} + {panel_bytes} + 64]",
            "tdpbf16ps tmm4, tmm6, tmm7",
            "tileloadd tmm7, [{panel} + {panel_bytes}]",
            "tdpbf16ps tmm3, tmm6, tmm7",
            "add {upper}, {row_step}",
            "add {lower}, {row_step}",
            "add {panel}, {panel_step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{product} + {product_bytes}], tmm0",
            "tilestored [{product} + {product_bytes} + 64], tmm1",
            "tilestored [{product} + {product_bytes} + 128], tmm2",
            "tilestored [{below} + {product_bytes}], tmm3",
            "tilestored [{below} + {product_bytes} + 64], tmm4",
            "tilestored [{below} + {product_bytes} + 128], tmm5",
            upper = inout(reg) rows => _,
            lower = inout(reg) rows.add(TILE_ROWS * width) => _,
            row_bytes = in(reg) 4 * width,
            panel = inout(reg) panel => _,
            panel_bytes = in(reg) 4 * COLUMNS,
            row_step = const TILE_ROW_BYTES,
            panel_step = const 4 * COLUMNS * PAIRS,
            steps = inout(reg) width / PAIRS => _,
            product = in(reg) product,
            below = in(reg) product.add(TILE_ROWS * stride),
            product_bytes = in(reg) 4 * stride,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// The product of one tile's rows of pairs and a matrix of `columns` columns, a row for each pair: `product` gets
/// [`TILE_ROWS`] × `columns` numbers. Pairs are a multiple of [`PAIRS`], columns of twice a tile's. Fastest where all
/// three begin at a cache line.
///
/// # Panics
/// When sizes do not fit each other.
#[expect(unsafe_code, reason = "assembly")]
pub(super) fn multiply_tile_of_rows(_: &Tiles, rows: &[u32], matrix: &[u32], columns: usize, product: &mut [f32]) {
    const STEP: usize = 2 * TILE_ROW_BYTES / size_of::<f32>();
    let width = rows.len() / TILE_ROWS;
    assert!(rows.len() == TILE_ROWS * width && width > 0 && width.is_multiple_of(PAIRS));
    assert!(columns.is_multiple_of(STEP) && matrix.len() == width * columns && product.len() == TILE_ROWS * columns);
    for column in (0..columns).step_by(STEP) {
        let (rows, matrix, product) = (rows.as_ptr(), matrix.as_ptr(), product.as_mut_ptr());
        // SAFETY: the tiles are configured as `_` shows. Each step reads 16 pairs of 16 rows, and 32 columns of 16 rows of the
        // matrix, and there are `width / 16` steps, so by the assertions all reads are inside the two slices, and so are the
        // 32 numbers that are written to each of 16 rows of the product, which is borrowed mutably and so apart from both.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm2, [{rows} + {row_bytes}]",
                "tileloadd tmm3, [{matrix} + {matrix_bytes}]",
                "tileloadd tmm4, [{matrix} + {matrix_bytes} + 64]",
                "tdpbf16ps tmm0, tmm2, tmm3",
                "tdpbf16ps tmm1, tmm2, tmm4",
                "add {rows}, {row_step}",
                "add {matrix}, {matrix_step}",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{product} + {matrix_bytes}], tmm0",
                "tilestored [{product} + {matrix_bytes} + 64], tmm1",
                rows = inout(reg) rows => _,
                row_bytes = in(reg) 4 * width,
                row_step = const TILE_ROW_BYTES,
                matrix = inout(reg) matrix.add(column) => _,
                matrix_bytes = in(reg) 4 * columns,
                matrix_step = in(reg) 4 * columns * PAIRS,
                steps = inout(reg) width / PAIRS => _,
                product = in(reg) product.add(column),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _,
                options(nostack),
            );
        }
    }
}
