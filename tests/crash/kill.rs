//! `kill -9` at random times, as it happens. Owns the times; `walk.rs` tries every point on purpose.

use std::time::{Duration, Instant};

use crate::night::Night;

const KILLS: u32 = 50;
/// Of the times.
const SEED: u64 = 20_261_120;

#[test]
fn after_fifty_kills_at_random_times_the_store_is_whole_and_goes_on() {
    let night = Night::new();
    let length = (0..3).map(|number| undisturbed(&night, number)).min().unwrap();
    let mut random = SEED;
    let (mut before, mut after, mut tried) = (0, 0, 0);
    while before + after < KILLS {
        assert!(tried < 4 * KILLS, "the times do not lie within a run: {before} and {after} of {tried}");
        tried += 1;
        // Knuth's linear congruential generator; its high bits are good enough for times.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = length.mul_f64((random >> 40) as f64 / (1_u64 << 24) as f64);
        let store = night.store(&format!("kill-{tried}"));
        let mut run = night.program(&store).spawn();
        std::thread::sleep(delay);
        run.kill().unwrap();
        let code = run.wait().unwrap().code();
        let told = |failure: String| format!("kill {tried} after {delay:?} of {length:?}, seed {SEED}: {failure}");
        let served = night.check_served(&store).map_err(told).unwrap();
        match code {
            // It was done already: not one of the fifty.
            Some(code) => assert_eq!(code, 0, "{}", told(String::new())),
            None if served == night.old => before += 1,
            None => after += 1,
        }
        night.check_next_run(&store).map_err(told).unwrap();
        fs_err::remove_dir_all(&store).unwrap();
    }
    eprintln!("{KILLS} kills within {length:?}: {before} before publishing, {after} after; {tried} tried");
}

fn undisturbed(night: &Night, number: u32) -> Duration {
    let store = night.store(&format!("undisturbed-{number}"));
    let start = Instant::now();
    night.program(&store).output().expect_code(0);
    start.elapsed()
}
