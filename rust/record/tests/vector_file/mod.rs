//! Reads the vector files of `tests/data`: `# comment`, `[section]`, and cases of `Name = value` lines with blank lines
//! between them.

use std::collections::HashMap;

/// One case: its values by name, and the section it stands in.
pub(crate) struct Case {
    section: String,
    values: HashMap<String, String>,
}

impl Case {
    /// The value called `name`, or the section for "section"; None when the case has none.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        match name {
            "section" => Some(&self.section),
            _ => self.values.get(name).map(String::as_str),
        }
    }

    /// The value called `name`, decoded from hexadecimal with or without spaces.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let Some(value) = self.find(name) else {
            panic!("no {name:?} in a case of section {:?}", self.section);
        };
        let digits: Vec<u32> = value
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| {
                c.to_digit(16)
                    .unwrap_or_else(|| panic!("{c:?} in {name} is no digit"))
            })
            .collect();
        assert_eq!(digits.len() % 2, 0, "{name} has half a byte");
        digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("two digits"))
            .collect()
    }
}

/// All cases of a file, in order.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut section = String::new();
    let mut cases = Vec::new();
    let mut values = HashMap::new();
    for line in text.lines().chain([""]) {
        if let Some((name, value)) = line.split_once('=') {
            let earlier = values.insert(name.trim().to_owned(), value.trim().to_owned());
            assert!(earlier.is_none(), "{name} twice in one case");
            continue;
        }
        if !values.is_empty() {
            cases.push(Case {
                section: section.clone(),
                values: std::mem::take(&mut values),
            });
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "cannot read {line:?}"
            );
        }
    }
    cases
}
