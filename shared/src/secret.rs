//! The deployment's own secrets: files of mode 0600 in the state folder, or named by the environment. Never in git.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::id::decode_hex;
use crate::sealed::{KEKS_MAX, Ring};

/// Under which callers' keys are hashed; the variable names a file that takes the place of the one in the state folder.
pub const PEPPER: (&str, &str) = ("pepper", "WEIR_PEPPER_FILE");
/// Under which ids of vendors' objects are sealed.
pub const SEAL: (&str, &str) = ("seal", "WEIR_SEAL_FILE");

/// Under which vendors' secrets are sealed: a file with a key a line; or the keys themselves, in the other variable.
pub const KEK: (&str, &str) = ("kek", "WEIR_KEK_FILE");
pub const KEK_VALUE: &str = "WEIR_KEK";

/// Where the key-encryption keys are, when they are in a file.
pub fn kek_path(state: &Path) -> PathBuf {
    std::env::var_os(KEK.1).map_or_else(|| state.join("secret").join(KEK.0), PathBuf::from)
}

/// The key-encryption keys of this deployment; none when there is no file.
pub fn read_keks(state: &Path) -> Result<Ring, String> {
    let wrong = |place: &str| format!("{place}: not 64 hexadecimal digits a line; restore it from a copy");
    if let Ok(text) = std::env::var(KEK_VALUE) {
        return Ring::parse(&text).ok_or_else(|| wrong(KEK_VALUE));
    }
    let path = kek_path(state);
    let mut text = Zeroizing::new(String::new());
    match std::fs::File::open(&path).and_then(|file| file.take(4 << 10).read_to_string(&mut text)) {
        Ok(_) => Ring::parse(&text).ok_or_else(|| wrong(&path.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ring::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Nobody else changes the file as long as this is held: who reads keys, adds one and writes them would undo what another wrote.
pub fn hold_keks(state: &Path) -> Result<std::fs::File, String> {
    let path = kek_path(state).with_extension("lock");
    make_folder(&path)?;
    let open = || {
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        lock.lock()?;
        Ok(lock)
    };
    open().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}

/// Puts these keys in the place of those in the file. All or nothing, and for its owner alone.
pub fn write_keks(state: &Path, ring: &Ring) -> Result<(), String> {
    if std::env::var_os(KEK_VALUE).is_some() {
        return Err(format!("the keys come from {KEK_VALUE}, which only whoever sets it can change"));
    }
    if ring.0.len() > KEKS_MAX {
        return Err(format!("no more than {KEKS_MAX} keys are kept, and there would be {}", ring.0.len()));
    }
    let path = kek_path(state);
    make_folder(&path)?;
    let write = || {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let beside = path.with_extension(format!("new-{:016x}", u64::from_le_bytes(random)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(ring.text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

/// The one in which this file lies, for its owner alone.
fn make_folder(of: &Path) -> Result<(), String> {
    let Some(folder) = of.parent() else { return Ok(()) };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| format!("{}: {error}", folder.display()))
}

/// Reads the secret of this name, making it first when it does not exist yet. Two processes that make it at once agree.
pub fn read_or_create(state: &Path, (name, variable): (&str, &str)) -> Result<[u8; 32], String> {
    let path = match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => {
            let folder = state.join("secret");
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| format!("{}: {error}", folder.display()))?;
            folder.join(name)
        }
    };
    create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    read(&path)
}

/// Written beside and linked into place, so that nobody reads half of it and the first one wins.
fn create(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    // A name that nobody else takes: threads share a process id, and so do the first processes of two containers.
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let beside = path.with_extension(format!("new-{:016x}", u64::from_le_bytes(random)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{}", crate::id::Digest(secret))?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<[u8; 32], String> {
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(1 << 10).read_to_string(&mut text));
    opened.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut secret = [0; 32];
    match decode_hex(text.trim().as_bytes(), &mut secret) {
        true => Ok(secret),
        false => Err(format!("{}: not 64 hexadecimal digits; restore it from a copy", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        let state = std::env::temp_dir().join(format!("weir-secret-{}", std::process::id()));
        let first = read_or_create(&state, PEPPER).unwrap();
        assert_eq!(read_or_create(&state, PEPPER).unwrap(), first);
        assert_ne!(first, [0; 32]);
        let mode = std::fs::metadata(state.join("secret/pepper")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(state.join("secret/pepper"), "short").unwrap();
        assert!(read_or_create(&state, PEPPER).is_err());
        std::fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn whoever_makes_it_at_once_agrees() {
        let state = std::env::temp_dir().join(format!("weir-secret-race-{}", std::process::id()));
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| read_or_create(&state, SEAL).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(made.iter().all(|secret| *secret == made[0]));
        assert_eq!(std::fs::read_dir(state.join("secret")).unwrap().count(), 1, "nothing is left beside it");
        std::fs::remove_dir_all(&state).unwrap();
    }
}
