//! The socket through which a new process takes over the listening sockets. A process that can connect to it, or put
//! another socket in its place, gets the listening sockets or replaces them. So no other user may reach it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Access of the group and of others.
const OTHERS: u32 = 0o077;

/// Checks that no other user can reach the socket, which need not exist. Both processes run as the same user,
/// so that a folder of this user alone limits both ends of the connection to that user.
///
/// # Errors
/// What is wrong, as a sentence about `server.upgrade_sock`.
pub(super) fn check(socket: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let this = Path::new("/proc/self");
    let user = fs::metadata(this).map_err(|error| failed(this, error))?.uid();
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let found = fs::metadata(folder).map_err(|error| failed(folder, error))?;
    let name = folder.display();
    if found.uid() != user {
        return Err(format!(
            "the folder {name} belongs to user {}: it must belong to the user of s3proxy ({user})",
            found.uid()
        ));
    }
    if found.mode() & OTHERS != 0 {
        return Err(format!("other users can access the folder {name}: run chmod 700 on it"));
    }
    match fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(socket, error)),
        Ok(found) if !found.file_type().is_socket() => {
            Err(format!("{} is not a socket: remove it, or name another path", socket.display()))
        }
        Ok(found) if found.uid() != user => Err(format!(
            "the socket {} belongs to user {}, not to the user of s3proxy ({user})",
            socket.display(),
            found.uid()
        )),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_upgrade_socket_must_be_out_of_reach_of_other_users() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("upgrade.sock");
        let set_mode = |mode| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path(), permissions).expect("a mode");
        };
        set_mode(0o700);
        assert_eq!(check(&socket), Ok(()));
        for mode in [0o777, 0o1777, 0o755, 0o770, 0o710] {
            set_mode(mode);
            assert!(check(&socket).is_err_and(|text| text.contains("chmod 700")), "{mode:o}");
        }
        set_mode(0o700);
        fs::write(&socket, "no socket").expect("a file");
        assert!(check(&socket).is_err_and(|text| text.contains("not a socket")));
        fs::remove_file(&socket).expect("a file");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        assert_eq!(check(&socket), Ok(()));
        assert!(check(Path::new("/nonexistent/upgrade.sock")).is_err());
        assert!(check(Path::new("/tmp/upgrade.sock")).is_err());
    }
}
