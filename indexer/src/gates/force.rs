//! Publishing although gates refused. Owns who did it and the record of it; not the decision what may be overruled
//! (`verify.rs`: gates may, damage may not). Invariant: nobody overrules a gate without a name.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::manifest::{GateResult, Overruled};
use schemas::store::host_name;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest reason that is kept, in characters.
const MAX_REASON_CHARACTERS: usize = 1_000;

/// The wish to publish whatever the gates say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Force {
    /// Who wishes it, as `user@host`.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

impl Force {
    /// By the user of this process: its account as the system knows it, else what the environment says; with the one
    /// that called `sudo`.
    #[must_use]
    pub fn by_this_user(reason: Option<&str>) -> Force {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let account = account().or_else(|| ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(variable));
        let account = account.unwrap_or_else(|| "unknown user".to_owned());
        let by = match variable("SUDO_USER").filter(|caller| *caller != account) {
            Some(caller) => format!("{account}@{} (sudo by {caller})", host_name()),
            None => format!("{account}@{}", host_name()),
        };
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        Force { by, reason: reason.map(|reason| reason.chars().take(MAX_REASON_CHARACTERS).collect()) }
    }

    /// The record for the gates that refused; `None` when none did.
    #[must_use]
    pub fn overrule(&self, gates: &BTreeMap<String, GateResult>) -> Option<Overruled> {
        let refused: Vec<String> =
            gates.iter().filter(|(_, gate)| !gate.passed).map(|(name, _)| name.clone()).collect();
        if refused.is_empty() {
            return None;
        }
        let now = OffsetDateTime::now_utc();
        // Formatting fails only for years beyond four digits.
        let at = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        Some(Overruled { gates: refused, by: self.by.clone(), at, reason: self.reason.clone() })
    }
}

/// The account this process runs under, by Linux' process table and `/etc/passwd`; `uid 1000` where it has no name.
fn account() -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let uid = fs_err::metadata(Path::new("/proc/self")).ok()?.uid();
        let accounts = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
        Some(account_name(&accounts, uid).unwrap_or_else(|| format!("uid {uid}")))
    }
    #[cfg(not(unix))]
    None
}

/// The name of a user in the text of `/etc/passwd`.
fn account_name(accounts: &str, uid: u32) -> Option<String> {
    accounts.lines().find_map(|line| {
        let mut cells = line.split(':');
        let name = cells.next().filter(|name| !name.is_empty())?;
        (cells.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(results: [bool; 3]) -> BTreeMap<String, GateResult> {
        let gate = |passed| GateResult { value: 0.0, bound: 0.0, passed, message: String::new() };
        ["c", "a", "b"].map(str::to_owned).into_iter().zip(results.map(gate)).collect()
    }

    #[test]
    fn only_gates_that_refused_are_overruled_and_by_someone() {
        let force = Force::by_this_user(Some("  the feed is cut on purpose\n"));
        let (user, host) = force.by.split_once('@').unwrap();
        assert!(!user.is_empty() && !host.is_empty(), "{}", force.by);
        assert_eq!(force.reason.as_deref(), Some("the feed is cut on purpose"));
        assert_eq!(force.overrule(&gates([true, true, true])), None);
        let overruled = force.overrule(&gates([false, true, false])).unwrap();
        assert_eq!(overruled.gates, ["b", "c"]);
        assert_eq!((overruled.by, overruled.reason), (force.by, force.reason));
        assert!(OffsetDateTime::parse(&overruled.at, &Rfc3339).is_ok(), "{}", overruled.at);
    }

    #[test]
    fn a_reason_is_optional_and_bounded() {
        assert_eq!(Force::by_this_user(Some(" ")).reason, None);
        assert_eq!(Force::by_this_user(None).reason, None);
        let long = "ä".repeat(5_000);
        assert_eq!(Force::by_this_user(Some(&long)).reason.map(|kept| kept.chars().count()), Some(1_000));
    }

    #[test]
    fn accounts_are_found_by_number() {
        let accounts = "root:x:0:0:root:/root:/bin/bash\n\nbroken\n:x:7:7::/:\nana:x:1000:1000:Ana:/:/bin/sh\n";
        assert_eq!(account_name(accounts, 0).as_deref(), Some("root"));
        assert_eq!(account_name(accounts, 1000).as_deref(), Some("ana"));
        assert_eq!(account_name(accounts, 7), None);
    }
}
