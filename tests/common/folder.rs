// SPDX-License-Identifier: MPL-2.0
//! Files between a test and its peers.

use std::path::{Path, PathBuf};

/// A folder of this test for files between it and its peers; removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(label: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tdt-{label}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder can be made");
        Self(path)
    }
}

impl std::ops::Deref for Folder {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
