//! Headers made by hand, one fault at a time, and random ones.

use super::*;
use proptest::prelude::*;

const LIMITS: ImageLimits = ImageLimits {
    virtual_size: ByteSize::from_gib(100),
    flavor_disk: None,
};

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn inspect_bytes(bytes: &[u8]) -> Result<ImageHeader, HeaderError> {
    inspect_longer(bytes, bytes.len() as u64)
}

/// The file is `length` long, with zeros between what is given and its end.
fn inspect_longer(bytes: &[u8], length: u64) -> Result<ImageHeader, HeaderError> {
    let mut head = bytes.to_vec();
    head.resize(usize::try_from(length.min(HEAD_BYTES as u64)).expect("small"), 0);
    let zeros = [0; TAIL_BYTES];
    let tail = if length == bytes.len() as u64 {
        &bytes[bytes.len().saturating_sub(TAIL_BYTES)..]
    } else {
        &zeros[..]
    };
    inspect(
        ImageFile {
            head: &head,
            tail,
            length,
        },
        LIMITS,
    )
}

/// A qcow2 of version 3 with 64 KiB clusters, a 10 GiB disk, tables in clusters 1 to 3, as qemu-img makes it.
const QCOW2_LENGTH: u64 = 4 << 16;
fn qcow2() -> Vec<u8> {
    let mut bytes = vec![0; 4 << 16];
    put(&mut bytes, 0, b"QFI\xfb");
    put(&mut bytes, 4, &3_u32.to_be_bytes());
    put(&mut bytes, 20, &16_u32.to_be_bytes());
    put(&mut bytes, 24, &(10_u64 << 30).to_be_bytes());
    put(&mut bytes, 36, &20_u32.to_be_bytes());
    put(&mut bytes, 40, &(3_u64 << 16).to_be_bytes());
    put(&mut bytes, 48, &(1_u64 << 16).to_be_bytes());
    put(&mut bytes, 56, &1_u32.to_be_bytes());
    put(&mut bytes, 96, &4_u32.to_be_bytes());
    put(&mut bytes, 100, &112_u32.to_be_bytes());
    bytes
}

fn altered(base: &[u8], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for (at, value) in changes {
        put(&mut bytes, *at, value);
    }
    bytes
}

#[test]
fn a_plain_qcow2_is_taken() {
    let header = inspect_bytes(&qcow2()).expect("a plain qcow2");
    assert_eq!(header.format, ImageFormat::Qcow2);
    assert_eq!(header.virtual_size, ByteSize::from_gib(10));
    let layout = header.qcow2.expect("a layout");
    assert_eq!(
        layout.l1,
        TableRange {
            offset: 3 << 16,
            bytes: 160
        }
    );
    let version_2 = altered(&qcow2(), &[(4, &2_u32.to_be_bytes()), (96, &[0; 16])]);
    assert_eq!(
        inspect_bytes(&version_2).map(|header| header.virtual_size),
        Ok(ByteSize::from_gib(10))
    );
}

#[test]
fn each_fault_of_a_qcow2_is_refused() {
    let be32 = |value: u32| value.to_be_bytes();
    let be64 = |value: u64| value.to_be_bytes();
    let backing = altered(
        &qcow2(),
        &[(8, &be64(1024)), (16, &be32(11)), (1024, b"/etc/shadow")],
    );
    assert_eq!(
        inspect_bytes(&backing),
        Err(HeaderError::BackingFile("/etc/shadow".to_owned()))
    );
    let outside = |part, end| HeaderError::Outside {
        part,
        end,
        length: QCOW2_LENGTH,
    };
    let field = |field, value| HeaderError::Field { field, value };
    let table: Vec<(&str, usize, Vec<u8>, HeaderError)> = vec![
        (
            "version 4",
            4,
            be32(4).into(),
            HeaderError::Version {
                format: "qcow2",
                version: 4,
            },
        ),
        (
            "qcow 1",
            4,
            be32(1).into(),
            HeaderError::Unsupported(Unsupported::Qcow1),
        ),
        ("tiny clusters", 20, be32(8).into(), field("cluster bits", 8)),
        ("huge clusters", 20, be32(22).into(), field("cluster bits", 22)),
        (
            "shift overflow",
            20,
            be32(u32::MAX).into(),
            field("cluster bits", u32::MAX.into()),
        ),
        ("external data", 72, be64(4).into(), HeaderError::ExternalData),
        ("dirty", 72, be64(1).into(), HeaderError::Dirty),
        ("corrupt", 72, be64(2).into(), HeaderError::Dirty),
        (
            "unknown feature",
            72,
            be64(1 << 5).into(),
            HeaderError::UnknownFeatures(1 << 5),
        ),
        (
            "external data among unknown",
            72,
            be64(u64::MAX).into(),
            HeaderError::ExternalData,
        ),
        ("encrypted", 32, be32(1).into(), HeaderError::Encrypted),
        ("LUKS", 32, be32(2).into(), HeaderError::Encrypted),
        ("snapshots", 60, be32(3).into(), HeaderError::Snapshots(3)),
        ("short header", 100, be32(96).into(), field("header length", 96)),
        (
            "long header",
            100,
            be32(1 << 20).into(),
            field("header length", 1 << 20),
        ),
        (
            "L1 outside",
            40,
            be64(4 << 16).into(),
            outside("L1 table", (4 << 16) + 160),
        ),
        (
            "L1 at the end of numbers",
            40,
            be64(u64::MAX << 16).into(),
            outside("L1 table", (u64::MAX << 16) + 160),
        ),
        ("L1 unaligned", 40, be64(7).into(), field("L1 table offset", 7)),
        ("L1 too short", 36, be32(19).into(), field("L1 table entries", 19)),
        (
            "L1 huge",
            36,
            be32(u32::MAX).into(),
            field("L1 table entries", u32::MAX.into()),
        ),
        (
            "refcounts outside",
            48,
            be64(9 << 16).into(),
            outside("refcount table", 10 << 16),
        ),
        (
            "refcounts nowhere",
            48,
            be64(0).into(),
            field("refcount table offset", 0),
        ),
        (
            "refcounts huge",
            56,
            be32(u32::MAX).into(),
            field("refcount table clusters", u32::MAX.into()),
        ),
        (
            "refcounts empty",
            56,
            be32(0).into(),
            field("refcount table clusters", 0),
        ),
        ("no disk", 24, be64(0).into(), HeaderError::NoDisk),
        (
            "data file extension",
            112,
            b"DATA\0\0\0\x04name".into(),
            HeaderError::ExternalData,
        ),
        (
            "encryption extension",
            112,
            be32(0x0537_be77).into(),
            HeaderError::Encrypted,
        ),
        (
            "endless extension",
            112,
            vec![1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff],
            field("length of a header extension", u32::MAX.into()),
        ),
        ("unknown compression", 104, vec![7], field("compression type", 7)),
        (
            "also a boot sector",
            510,
            vec![0x55, 0xaa],
            HeaderError::Ambiguous {
                first: "qcow2",
                second: "raw",
            },
        ),
        (
            "also a VDI",
            0x40,
            vec![0x7f, 0x10, 0xda, 0xbe],
            HeaderError::Ambiguous {
                first: "qcow2",
                second: "vdi",
            },
        ),
    ];
    for (name, at, value, error) in table {
        assert_eq!(
            inspect_bytes(&altered(&qcow2(), &[(at, &value)])),
            Err(error),
            "{name}"
        );
    }
    let mut with_footer = qcow2();
    let end = with_footer.len() - 512;
    put(&mut with_footer, end, b"conectix");
    assert_eq!(
        inspect_bytes(&with_footer),
        Err(HeaderError::Ambiguous {
            first: "qcow2",
            second: "vpc"
        })
    );
}

#[test]
fn a_qcow2_cut_anywhere_in_its_tables_is_refused() {
    let whole = qcow2();
    for cut in (1..whole.len()).step_by(509) {
        // The last table is 160 bytes long at the start of the last cluster.
        let enough = cut >= (3 << 16) + 160;
        assert_eq!(inspect_bytes(&whole[..cut]).is_ok(), enough, "cut at {cut}");
    }
}

#[test]
fn a_qcow2_whose_data_is_cut_off_is_refused_by_its_tables() {
    let layout = inspect_bytes(&qcow2())
        .expect("a plain qcow2")
        .qcow2
        .expect("a layout");
    let mut l1 = vec![0; 160];
    put(&mut l1, 8, &((1 << 63) | (2_u64 << 16)).to_be_bytes());
    assert_eq!(
        layout.l2_tables(&l1),
        Ok(vec![TableRange {
            offset: 2 << 16,
            bytes: 1 << 16
        }])
    );
    put(&mut l1, 16, &((1 << 63) | (4_u64 << 16)).to_be_bytes());
    let outside = |part, end| {
        Err(HeaderError::Outside {
            part,
            end,
            length: QCOW2_LENGTH,
        })
    };
    assert_eq!(
        layout.l2_tables(&l1),
        outside("an L2 table", 5 << 16).map(|()| Vec::new())
    );
    assert_eq!(layout.l2_tables(&l1[..8]), Err(HeaderError::HeaderCut));
    let mut l2 = vec![0; 1 << 16];
    put(&mut l2, 0, &((1 << 63) | (3_u64 << 16)).to_be_bytes());
    put(&mut l2, 8, &1_u64.to_be_bytes());
    assert_eq!(layout.check_l2(&l2), Ok(()));
    put(&mut l2, 16, &((1 << 63) | (4_u64 << 16)).to_be_bytes());
    assert_eq!(layout.check_l2(&l2), outside("data", (4 << 16) + 1));
    put(&mut l2, 16, &((1 << 62) | QCOW2_LENGTH).to_be_bytes());
    assert_eq!(layout.check_l2(&l2), outside("compressed data", (4 << 16) + 1));
}

#[test]
fn sizes_are_held_against_the_limit_and_the_flavor() {
    let large = altered(
        &qcow2(),
        &[(24, &(200_u64 << 30).to_be_bytes()), (36, &400_u32.to_be_bytes())],
    );
    let over = HeaderError::OverLimit {
        size: ByteSize::from_gib(200),
        limit: ByteSize::from_gib(100),
    };
    assert_eq!(inspect_bytes(&large), Err(over));
    let bytes = qcow2();
    let file = ImageFile {
        head: &bytes[..HEAD_BYTES],
        tail: &bytes[bytes.len() - 512..],
        length: QCOW2_LENGTH,
    };
    let limits = |disk| ImageLimits {
        flavor_disk: Some(ByteSize::from_gib(disk)),
        ..LIMITS
    };
    let over = HeaderError::OverFlavor {
        size: ByteSize::from_gib(10),
        disk: ByteSize::from_gib(9),
    };
    assert_eq!(inspect(file, limits(9)), Err(over));
    assert_eq!(
        inspect(file, limits(10)).map(|header| header.format),
        Ok(ImageFormat::Qcow2)
    );
}

fn vmdk(descriptor: &str) -> Vec<u8> {
    let mut bytes = vec![0; 128 << 10];
    put(&mut bytes, 0, b"KDMV");
    put(&mut bytes, 4, &1_u32.to_le_bytes());
    put(&mut bytes, 12, &2048_u64.to_le_bytes());
    put(&mut bytes, 20, &128_u64.to_le_bytes());
    put(&mut bytes, 28, &1_u64.to_le_bytes());
    put(&mut bytes, 36, &20_u64.to_le_bytes());
    put(&mut bytes, 44, &512_u32.to_le_bytes());
    put(&mut bytes, 56, &26_u64.to_le_bytes());
    put(&mut bytes, 64, &128_u64.to_le_bytes());
    put(&mut bytes, 73, b"\n \r\n");
    put(&mut bytes, 512, descriptor.as_bytes());
    bytes
}

const VMDK: &str =
    "# Disk DescriptorFile\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\nRW 2048 SPARSE \"a.vmdk\"\n";

#[test]
fn vmdk_in_one_file_is_taken_and_any_other_refused() {
    let taken = inspect_bytes(&vmdk(VMDK)).expect("a plain VMDK");
    assert_eq!(
        (taken.format, taken.virtual_size),
        (ImageFormat::Vmdk, ByteSize::from_mib(1))
    );
    for (from, to, error) in [
        ("RW 2048 SPARSE", "RW 2048 FLAT", HeaderError::ExternalData),
        (
            "RW 2048 SPARSE",
            "RW 9 FLAT \"/etc/shadow\" 0\nRW 2048 SPARSE",
            HeaderError::ExternalData,
        ),
        (
            "parentCID=ffffffff",
            "parentCID=12345678",
            HeaderError::Unsupported(Unsupported::Differencing),
        ),
        (
            "parentCID",
            "parentFileNameHint=\"/etc/x\"\nparentCID",
            HeaderError::BackingFile("/etc/x".to_owned()),
        ),
        (
            "monolithicSparse",
            "twoGbMaxExtentFlat",
            HeaderError::Unsupported(Unsupported::VmdkDescriptor),
        ),
    ] {
        assert_eq!(inspect_bytes(&vmdk(&VMDK.replace(from, to))), Err(error), "{to}");
    }
    let mut descriptor = VMDK.as_bytes().to_vec();
    descriptor.resize(1024, b'\n');
    assert_eq!(
        inspect_bytes(&descriptor),
        Err(HeaderError::Unsupported(Unsupported::VmdkDescriptor))
    );
    let cut = &vmdk(VMDK)[..32 << 10];
    assert!(matches!(
        inspect_bytes(cut),
        Err(HeaderError::Outside { part: "metadata", .. })
    ));
}

fn vdi() -> Vec<u8> {
    let mut bytes = vec![0; 0x2000];
    put(&mut bytes, 0, b"<<< QEMU VM Virtual Disk Image >>>\n");
    put(&mut bytes, 0x40, &[0x7f, 0x10, 0xda, 0xbe]);
    put(&mut bytes, 0x44, &0x0001_0001_u32.to_le_bytes());
    put(&mut bytes, 0x4c, &1_u32.to_le_bytes());
    put(&mut bytes, 0x154, &0x200_u32.to_le_bytes());
    put(&mut bytes, 0x158, &0x400_u32.to_le_bytes());
    put(&mut bytes, 0x170, &(8_u64 << 20).to_le_bytes());
    put(&mut bytes, 0x178, &(1_u32 << 20).to_le_bytes());
    put(&mut bytes, 0x180, &8_u32.to_le_bytes());
    bytes
}

#[test]
fn vdi_alone_is_taken() {
    assert_eq!(
        inspect_bytes(&vdi()).map(|header| header.virtual_size),
        Ok(ByteSize::from_mib(8))
    );
    let parent = altered(&vdi(), &[(0x1b8, &[1])]);
    assert_eq!(
        inspect_bytes(&parent),
        Err(HeaderError::Unsupported(Unsupported::Differencing))
    );
    let cut = altered(&vdi(), &[(0x184, &[1])]);
    assert!(matches!(
        inspect_bytes(&cut),
        Err(HeaderError::Outside { part: "data", .. })
    ));
}

fn vhd_footer(size: u64, kind: u32) -> Vec<u8> {
    let mut footer = vec![0; 512];
    put(&mut footer, 0, b"conectix");
    put(&mut footer, 12, &0x0001_0000_u32.to_be_bytes());
    put(&mut footer, 16, &512_u64.to_be_bytes());
    put(&mut footer, 48, &size.to_be_bytes());
    put(&mut footer, 60, &kind.to_be_bytes());
    let sum = !footer.iter().fold(0_u32, |sum, byte| sum + u32::from(*byte));
    put(&mut footer, 64, &sum.to_be_bytes());
    footer
}

#[test]
fn vhd_is_known_by_its_footer() {
    let mut fixed = vec![0; 4096];
    fixed.extend(vhd_footer(4096, 2));
    let taken = inspect_bytes(&fixed).expect("a fixed VHD");
    assert_eq!(
        (taken.format, taken.virtual_size),
        (ImageFormat::Vpc, ByteSize::from_bytes(4096))
    );
    let mut dynamic = vhd_footer(1 << 21, 3);
    dynamic.extend(b"cxsparse");
    dynamic.resize(2048, 0);
    put(&mut dynamic, 512 + 16, &1536_u64.to_be_bytes());
    put(&mut dynamic, 512 + 28, &1_u32.to_be_bytes());
    put(&mut dynamic, 512 + 32, &(1_u32 << 21).to_be_bytes());
    let footer = vhd_footer(1 << 21, 3);
    dynamic.extend(&footer);
    assert_eq!(
        inspect_bytes(&dynamic).map(|header| header.virtual_size),
        Ok(ByteSize::from_mib(2))
    );
    let cut = &dynamic[..dynamic.len() - 512];
    assert!(matches!(
        inspect_bytes(cut),
        Err(HeaderError::Outside { part: "footer", .. })
    ));
    let mut differencing = vec![0; 4096];
    differencing.extend(vhd_footer(4096, 4));
    assert_eq!(
        inspect_bytes(&differencing),
        Err(HeaderError::Unsupported(Unsupported::Differencing))
    );
    let last = fixed.len() - 1;
    fixed[last] = 1;
    assert!(matches!(
        inspect_bytes(&fixed),
        Err(HeaderError::Field {
            field: "footer checksum",
            ..
        })
    ));
}

#[test]
fn a_plain_disk_is_taken_unless_it_is_known_to_be_something_else() {
    assert_eq!(inspect_bytes(&[]), Err(HeaderError::Empty));
    let mut disk = vec![0; 64 << 10];
    put(&mut disk, 446 + 4, &[0x0e]);
    put(&mut disk, 446 + 8, &8_u32.to_le_bytes());
    put(&mut disk, 446 + 12, &120_u32.to_le_bytes());
    put(&mut disk, 510, &[0x55, 0xaa]);
    let taken = inspect_bytes(&disk).expect("a disk with one partition");
    assert_eq!(
        (taken.format, taken.virtual_size),
        (ImageFormat::Raw, ByteSize::from_bytes(64 << 10))
    );
    let cut = &disk[..60 << 10];
    assert!(matches!(
        inspect_bytes(cut),
        Err(HeaderError::Outside {
            part: "partition",
            ..
        })
    ));
    assert!(matches!(
        inspect_bytes(&disk[..1000]),
        Err(HeaderError::Outside {
            part: "last sector",
            ..
        })
    ));
    for (magic, what) in [
        (&b"QED\0"[..], Unsupported::Qed),
        (b"\x1f\x8b\x08", Unsupported::Compressed),
        (b"\xfd7zXZ\0", Unsupported::Compressed),
        (b"LUKS\xba\xbe", Unsupported::Luks),
        (b"vhdxfile", Unsupported::Vhdx),
        (b"COWD", Unsupported::VmdkCowd),
    ] {
        assert_eq!(
            inspect_longer(magic, 1 << 20),
            Err(HeaderError::Unsupported(what)),
            "{magic:?}"
        );
    }
    let page = b"<html>404 not found</html>\n".repeat(40);
    assert_eq!(
        inspect_bytes(&page),
        Err(HeaderError::Unsupported(Unsupported::Text))
    );
    let iso = altered(&vec![0; 64 << 10], &[(0x8001, b"CD001")]);
    assert_eq!(
        inspect_bytes(&iso),
        Err(HeaderError::Unsupported(Unsupported::Iso))
    );
}

#[test]
fn a_read_that_fell_short_is_the_agents_fault() {
    let file = ImageFile {
        head: &[0; 512],
        tail: &[0; 512],
        length: 1 << 20,
    };
    assert_eq!(inspect(file, LIMITS), Err(HeaderError::TooLittleRead));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096), more in any::<u64>()) {
        let tail = &bytes[bytes.len().saturating_sub(512)..];
        let length = (bytes.len() as u64).max(more % 8192);
        let _ = inspect(ImageFile { head: &bytes, tail, length }, LIMITS);
    }

    #[test]
    fn mutated_headers_never_panic(
        which in 0..5_usize,
        changes in prop::collection::vec((0..600_usize, any::<[u8; 8]>()), 1..6),
        tables in prop::collection::vec(any::<u8>(), 160..4096),
    ) {
        let mut fixed = vec![0; 1024];
        fixed.extend(vhd_footer(1024, 2));
        let mut bytes = [qcow2(), vmdk(VMDK), vdi(), fixed, vhd_footer(1 << 21, 3)][which].clone();
        bytes.resize(bytes.len().max(1024), 0);
        for (at, value) in changes {
            put(&mut bytes, at, &value);
        }
        if let Ok(ImageHeader { qcow2: Some(layout), .. }) = inspect_bytes(&bytes) {
            let _ = layout.l2_tables(&tables);
            let _ = layout.check_l2(&tables);
        }
    }

    #[test]
    fn an_accepted_qcow2_names_no_table_outside_the_file(
        changes in prop::collection::vec((20..112_usize, any::<u8>()), 0..4),
        length in 0..QCOW2_LENGTH,
    ) {
        let mut bytes = qcow2();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(usize::try_from(length).expect("small"));
        if let Ok(ImageHeader { qcow2: Some(layout), .. }) = inspect_bytes(&bytes) {
            prop_assert!(layout.l1.offset + layout.l1.bytes <= length);
        }
    }
}
