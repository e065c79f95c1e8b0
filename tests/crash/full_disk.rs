//! A night on a disk that is really full: a small tmpfs, with every amount of room that is not enough. Owns mounting it;
//! `walk.rs` simulates the same at every call.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layer::Fault;
use crate::night::Night;

/// Size of the disk: the store before the night and what a night needs at most.
const DISK: &str = "size=16m";
/// Steps of room that is left for the night.
const STEP_BYTES: u64 = 12 << 10;
/// Folder of the mounted disk, for the test that is started in a namespace of its own.
const DISK_VARIABLE: &str = "CATALENS_TEST_DISK";

#[test]
fn on_a_full_disk_the_old_snapshot_serves_and_with_room_the_night_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o {DISK} tmpfs \"$1\" || exit 77\n\
         exec \"$0\" --exact full_disk::on_the_mounted_disk --ignored --nocapture"
    );
    // As root a namespace of mounts is enough; others need one of users around it, where they may.
    for unshare in [&["-m"][..], &["-rm"]] {
        let tried = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", &script])
            .arg(std::env::current_exe().unwrap())
            .arg(folder.path())
            .env(DISK_VARIABLE, folder.path())
            .output();
        let Ok(output) = tried else { break };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if stdout.contains("running 1 test") {
            eprintln!("{stderr}");
            assert!(output.status.success(), "{stdout}\n{stderr}");
            assert!(stdout.contains("1 passed"), "{stdout}\n{stderr}");
            return;
        }
    }
    eprintln!("skipped: no tmpfs can be mounted here; it needs root or user namespaces");
}

#[test]
#[ignore = "needs a small disk: the test above mounts one and starts this"]
fn on_the_mounted_disk() {
    let Some(disk) = std::env::var_os(DISK_VARIABLE).map(PathBuf::from) else { return };
    let night = Night::new();
    let mut failed = 0;
    for room in (0..).map(|step| step * STEP_BYTES) {
        let (store, filler) = (disk.join("store"), disk.join("filler"));
        copy(&night.store(&format!("room-{room}")), &store);
        leave_room(&filler, room);
        let output = night.program(&store).output();
        let told = |failure: String| format!("{room} bytes of room: {failure}\n{output}");
        let served = night.check_served(&store).map_err(told).unwrap();
        if output.code == Some(0) {
            assert!(served != night.old, "{}", told("exit code 0 without publishing".to_owned()));
            eprintln!("nights on a full disk: {failed}; {room} bytes of room are enough");
            break;
        }
        assert_eq!(output.code, Some(2), "{}", told(String::new()));
        assert!(Fault::FullDisk.is_cause_of(&output.stderr), "{}", told(String::new()));
        let says_new = output.stderr.contains("is published and serves");
        assert_eq!(served != night.old, says_new, "{}", told(String::new()));
        failed += 1;
        fs_err::remove_file(&filler).unwrap();
        night.check_next_run(&store).map_err(told).unwrap();
        fs_err::remove_dir_all(&store).unwrap();
    }
    assert!(failed >= 8, "{failed}");
}

/// Fills the disk but for some bytes.
fn leave_room(filler: &Path, room: u64) {
    let mut file = fs_err::File::create(filler).unwrap();
    let block = vec![1; 4096];
    let mut written = 0;
    while file.write_all(&block).is_ok() {
        written += block.len() as u64;
    }
    assert!(written > room, "the disk is too small");
    file.set_len(written - room).unwrap();
}

/// A store on the other disk: links do not reach there.
fn copy(from: &Path, to: &Path) {
    crate::harness::copy_folder(from, to);
}
