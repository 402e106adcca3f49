//! A zip archive without compression. In: names and contents. Out: its bytes.
//!
//! MinIO takes accounts unencrypted only as an archive; these few lines spare a dependency.

/// Packs files into an archive. Names and contents are short: far below the format's limit of 4 GB.
pub(super) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let offset = as_u32(bytes.len());
        let common = entry(name, content);
        bytes.extend(0x0403_4b50_u32.to_le_bytes());
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend(20_u16.to_le_bytes()); // version that made it
        directory.extend(&common);
        directory.extend([0; 10]); // no comment, first disk, no attributes
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = as_u32(bytes.len());
    let count = u16::try_from(files.len()).unwrap_or(u16::MAX).to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(0x0605_4b50_u32.to_le_bytes());
    bytes.extend([0; 4]); // one disk
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend(as_u32(directory.len()).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]); // no comment
    bytes
}

/// What the header of a file and its line in the directory have in common.
fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let size = as_u32(content.len()).to_le_bytes();
    let mut bytes = Vec::new();
    bytes.extend(20_u16.to_le_bytes()); // version needed
    bytes.extend([0; 4]); // no flags, stored as it is
    bytes.extend([0, 0, 0x21, 0]); // midnight, 1 January 1980
    bytes.extend(checksum(content).to_le_bytes());
    bytes.extend(size);
    bytes.extend(size);
    bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend([0; 2]); // no extra field
    bytes
}

fn as_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// CRC-32 as zip uses it.
fn checksum(content: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in content {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_is_the_one_of_the_format() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }
}
