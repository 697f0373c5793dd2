//! Which processors a worker may run on (`kern.ipc.tls.bind_threads`).

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use crate::sys;

/// Where Linux lists the domains of memory (NUMA nodes) and their processors.
const NODES: &str = "/sys/devices/system/node";

/// What the workers are bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: the scheduler places them.
    #[default]
    None,
    /// Each to one processor.
    Core,
    /// Each to the processors of one domain.
    Domain,
}

impl Binding {
    /// Binds the calling thread, the worker of this index, going round among what the process may use.
    pub(super) fn bind(self, index: usize) -> Result<(), Errno> {
        let allowed = sys::allowed_cpus()?;
        let places: Vec<Vec<usize>> = match self {
            Self::None => return Ok(()),
            Self::Core => allowed.into_iter().map(|cpu| vec![cpu]).collect(),
            Self::Domain => domains(Path::new(NODES), &allowed),
        };
        let place = index
            .checked_rem(places.len())
            .and_then(|at| places.get(at));
        sys::bind_to_cpus(place.ok_or(Errno::INVAL)?)
    }
}

/// The processors of each domain, as far as they are allowed; domains without any are left out. Without the list all of
/// them are one domain.
fn domains(nodes: &Path, allowed: &[usize]) -> Vec<Vec<usize>> {
    let mut found: Vec<(usize, Vec<usize>)> = Vec::new();
    for entry in fs::read_dir(nodes).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("node")?.parse().ok());
        let Some(number) = number else { continue };
        let Ok(list) = fs::read_to_string(entry.path().join("cpulist")) else {
            continue;
        };
        let cpus = parse_list(&list);
        let usable: Vec<usize> = allowed
            .iter()
            .copied()
            .filter(|cpu| cpus.contains(cpu))
            .collect();
        if !usable.is_empty() {
            found.push((number, usable));
        }
    }
    if found.is_empty() {
        return vec![allowed.to_vec()];
    }
    found.sort_unstable_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, cpus)| cpus).collect()
}

/// The numbers of a list such as `0-3,8`; what is no number is left out.
fn parse_list(list: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            // More processors than any kernel has: the list is not what it should be.
            numbers.extend(first..=last.min(first.saturating_add(1 << 16)));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::{domains, parse_list};

    #[test]
    fn lists_of_the_kernel() {
        assert_eq!(parse_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_list("5\n"), [5]);
        assert!(parse_list("\n").is_empty());
        assert!(parse_list("x-y").is_empty());
    }

    #[test]
    fn domains_are_in_order_and_hold_what_is_allowed() {
        let nodes = tempfile::tempdir().expect("a directory");
        for (name, list) in [
            ("node10", "4-5"),
            ("node2", "0-3"),
            ("node3", "6-7"),
            ("other", "0"),
        ] {
            let node = nodes.path().join(name);
            std::fs::create_dir(&node).expect("a directory");
            std::fs::write(node.join("cpulist"), list).expect("a file");
        }
        let found = domains(nodes.path(), &[1, 2, 4]);
        assert_eq!(found, [vec![1, 2], vec![4]]);
    }

    #[test]
    fn without_a_list_there_is_one_domain() {
        let nodes = tempfile::tempdir().expect("a directory");
        let missing = nodes.path().join("none");
        assert_eq!(domains(&missing, &[0, 7]), [vec![0, 7]]);
    }
}
