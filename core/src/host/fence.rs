//! Fences: a parameter of SSM, or a file on one machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::FenceRef;
use crate::job::error::error_chain;
use crate::ports::fence::{FencePort, FenceUnreachable, FenceValue};

use super::aws::Aws;

/// Returns the fence at this address.
pub fn fence(place: &FenceRef, aws: &Arc<Aws>) -> Arc<dyn FencePort> {
    match place {
        FenceRef::Ssm(name) => Arc::new(SsmFence {
            name: name.clone(),
            aws: Arc::clone(aws),
        }),
        FenceRef::File(path) => Arc::new(FileFence {
            path: PathBuf::from(path),
        }),
    }
}

/// A parameter of SSM. SSM cannot compare and set, but it numbers the versions: a write that did not get the number
/// after the one that was read has replaced the write of another copy.
struct SsmFence {
    name: String,
    aws: Arc<Aws>,
}

#[async_trait]
impl FencePort for SsmFence {
    async fn read(&self) -> Result<Option<FenceValue>, FenceUnreachable> {
        let read = self.aws.versioned_parameter(&self.name).await;
        let read = read.map_err(|error| out_of_reach(&error))?;
        Ok(read.map(|(value, version)| FenceValue { value, version }))
    }

    async fn replace(
        &self,
        read: Option<&FenceValue>,
        value: &str,
    ) -> Result<bool, FenceUnreachable> {
        let written = self.aws.put_parameter(&self.name, value, read.is_some());
        let written = written.await.map_err(|error| out_of_reach(&error))?;
        Ok(match read {
            Some(read) => written == Some(read.version + 1),
            None => written.is_some(),
        })
    }
}

/// A file. A lock on a file beside it excludes the other processes of the machine during a replacement.
struct FileFence {
    path: PathBuf,
}

#[async_trait]
impl FencePort for FileFence {
    async fn read(&self) -> Result<Option<FenceValue>, FenceUnreachable> {
        let path = self.path.clone();
        blocking(move || read_file(&path)).await
    }

    async fn replace(
        &self,
        read: Option<&FenceValue>,
        value: &str,
    ) -> Result<bool, FenceUnreachable> {
        let (path, read, value) = (self.path.clone(), read.cloned(), value.to_owned());
        blocking(move || {
            let lock = File::create(beside(&path, "lock"))?;
            lock.lock()?;
            if read_file(&path)? != read {
                return Ok(false);
            }
            let draft = beside(&path, "new");
            let mut file = File::create(&draft)?;
            file.write_all(value.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            Ok(true)
        })
        .await
    }
}

fn read_file(path: &Path) -> io::Result<Option<FenceValue>> {
    match fs::read_to_string(path) {
        Ok(value) => Ok(Some(FenceValue { value, version: 0 })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    PathBuf::from(name)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FenceUnreachable> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| out_of_reach(&error))?;
    done.map_err(|error| out_of_reach(&error))
}

fn out_of_reach(error: &(dyn std::error::Error + 'static)) -> FenceUnreachable {
    FenceUnreachable {
        reason: error_chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn file_is_replaced_only_if_it_is_as_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = FenceRef::File(folder.path().join("fence").display().to_string());
        let fence = fence(&place, &Arc::default());
        assert_eq!(fence.read().await.unwrap(), None);
        assert!(fence.replace(None, "one").await.unwrap());
        assert!(!fence.replace(None, "two").await.unwrap());
        let one = fence.read().await.unwrap();
        assert_eq!(one.as_ref().map(|one| one.value.as_str()), Some("one"));
        assert!(fence.replace(one.as_ref(), "two").await.unwrap());
        assert!(!fence.replace(one.as_ref(), "three").await.unwrap());
    }

    #[tokio::test]
    async fn unreachable_file_is_an_error() {
        let place = FenceRef::File("/no/such/folder/fence".to_owned());
        let fence = fence(&place, &Arc::default());
        assert_eq!(fence.read().await.unwrap(), None);
        let error = fence.replace(None, "one").await.unwrap_err();
        assert!(error.reason.contains("No such file"), "{error}");
    }
}
