"""Trees and proofs are those of RFC 6962, and notes those of C2SP, whoever looks at them."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailarchive.errors import ConfigurationError
from mailarchive.vault import _merkle
from mailarchive.vault._note import LogCheckpoint, Signature, SigningKey, VerifierKey
from mailarchive.vault._tiles import Tree

LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves on which implementations of RFC 6962 are tested since 2013."""

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The published roots of the first 0 to 8 of them."""

INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (0, 1): [],
}
"""Published inclusion proofs on the same leaves."""

CONSISTENCY = {
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (1, 1): [],
}
"""Published consistency proofs on the same leaves."""


def _root(leaves: list[bytes]) -> bytes:
    """The root as RFC 6962 defines it: recursively."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    return hashlib.sha256(b"\1" + _root(leaves[:cut]) + _root(leaves[cut:])).digest()


def _path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1, as it stands there."""
    if len(leaves) == 1:
        return []
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    if m < cut:
        return [*_path(m, leaves[:cut]), _root(leaves[cut:])]
    return [*_path(m - cut, leaves[cut:]), _root(leaves[:cut])]


def _subproof(m: int, leaves: list[bytes], *, known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2, as it stands there."""
    if m == len(leaves):
        return [] if known else [_root(leaves)]
    cut = 1
    while cut * 2 < len(leaves):
        cut *= 2
    if m <= cut:
        return [*_subproof(m, leaves[:cut], known=known), _root(leaves[cut:])]
    return [*_subproof(m - cut, leaves[cut:], known=False), _root(leaves[:cut])]


def _node(leaves: list[bytes]) -> _merkle.Node:
    def node(height: int, n: int) -> bytes:
        some = leaves[n << height : (n + 1) << height]
        assert len(some) == 1 << height, "only complete subtrees may be asked for"
        return _root(some)

    return node


def _grown(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree


def _hex(hashes: tuple[bytes, ...]) -> list[str]:
    return [each.hex() for each in hashes]


# -- published values ---------------------------------------------------------------------


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    """The roots of the well-known leaves are the well-known roots, grown or composed."""
    leaves = LEAVES[:size]

    assert _grown(leaves).root().hex() == ROOTS[size]
    assert _merkle.root_of(size, _node(leaves)).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    """Inclusion proofs are the published ones, hash by hash."""
    path = _merkle.inclusion(index, size, _node(LEAVES[:size]))

    assert _hex(path) == INCLUSION[index, size]


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(old: int, size: int) -> None:
    """Consistency proofs are the published ones, hash by hash."""
    path = _merkle.consistency(old, size, _node(LEAVES[:size]))

    assert _hex(path) == CONSISTENCY[old, size]


# -- the definition -----------------------------------------------------------------------

trees = st.lists(st.binary(max_size=3), max_size=70)


@given(trees, st.data())
def test_everything_is_as_the_definition_says(leaves: list[bytes], data: st.DataObject) -> None:
    """Roots and proofs are those of the recursive definition, and each proof holds."""
    size, node = len(leaves), _node(leaves)
    root, old = _root(leaves), data.draw(st.integers(0, len(leaves)))

    assert _grown(leaves).root() == _merkle.root_of(size, node) == root
    path = _merkle.consistency(old, size, node)
    assert list(path) == (_subproof(old, leaves, known=True) if old else [])
    assert _merkle.extends(old, _root(leaves[:old]), size, root, path)
    for index in range(size):
        path = _merkle.inclusion(index, size, node)
        assert list(path) == _path(index, leaves)
        assert _merkle.includes(_merkle.leaf_hash(leaves[index]), index, size, path, root)


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=40), st.data())
def test_no_other_proof_holds(leaves: list[bytes], data: st.DataObject) -> None:
    """A proof with another leaf, place, size, hash or length shows nothing."""
    size, root = len(leaves), _root(leaves)
    index = data.draw(st.integers(0, size - 1))
    leaf = _merkle.leaf_hash(leaves[index])
    path = _merkle.inclusion(index, size, _node(leaves))
    other = data.draw(st.binary(min_size=32, max_size=32))

    assert not _merkle.includes(other, index, size, path, root)
    assert not _merkle.includes(leaf, index, size, (*path, other), root)
    assert not _merkle.includes(leaf, index, size, path[:-1], root) or not path
    assert not _merkle.includes(leaf, -1, size, path, root)
    assert not _merkle.includes(leaf, size, size, path, root)
    assert not _merkle.includes(leaf, index, size, path, other)
    for n in range(len(path)):
        wrong = (*path[:n], other, *path[n + 1 :])
        assert not _merkle.includes(leaf, index, size, wrong, root)


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=2, max_size=40), st.data())
def test_no_other_history_is_consistent(leaves: list[bytes], data: st.DataObject) -> None:
    """A tree in which an older leaf was changed does not extend the old one, whatever is said."""
    old = data.draw(st.integers(1, len(leaves)))
    changed = list(leaves)
    changed[data.draw(st.integers(0, old - 1))] += b"x"
    size = len(leaves)
    honest = _merkle.consistency(old, size, _node(leaves))
    forged = _merkle.consistency(old, size, _node(changed))

    for path in (honest, forged, ()):
        assert not _merkle.extends(old, _root(leaves[:old]), size, _root(changed), path)
    assert not _merkle.extends(size, _root(leaves), old - 1, _root(leaves[: old - 1]), honest)
    assert not _merkle.extends(0, _root(leaves), size, _root(leaves), ())


# -- notes --------------------------------------------------------------------------------

NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SEED = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
NEUMANN_SAID = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NEUMANN_SIGNED = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)
"""The example of the Go package that C2SP's signed notes come from."""


def _neumann() -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = base64.b64decode(NEUMANN_SEED)[1:]
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


def test_a_signature_is_the_published_one() -> None:
    """The well-known key signs the well-known text with the well-known signature."""
    key = _neumann()

    signature = key.sign("PeterNeumann", NEUMANN_SAID)

    assert signature.line() == NEUMANN_SIGNED
    assert str(key.verifier("PeterNeumann")) == NEUMANN
    assert VerifierKey.parse(NEUMANN).is_valid(NEUMANN_SAID, signature)
    assert not VerifierKey.parse(NEUMANN).is_valid(NEUMANN_SAID + "!", signature)


CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv"
    "2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()
"""The example of C2SP tlog-checkpoint."""


def test_the_published_checkpoint_reads_and_writes() -> None:
    """The example of the specification is read, and comes out again to the byte."""
    found = LogCheckpoint.parse(CHECKPOINT)

    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.root.hex().startswith("0ac5186a91863e8e")
    assert [each.name for each in found.signatures] == [found.origin]
    assert found.to_bytes() == CHECKPOINT


@given(
    st.integers(0, 1 << 62),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text("abc de/é", min_size=1), max_size=2),
)
def test_a_checkpoint_comes_back_and_its_signature_holds(
    size: int, root: bytes, extensions: list[str]
) -> None:
    """What was signed is read back equal, and only its own key accepts it."""
    key = _neumann()
    made = LogCheckpoint("log.example/1", size, root, tuple(extensions)).signed_by(key)

    assert LogCheckpoint.parse(made.to_bytes()) == made
    assert key.verifier("log.example/1").check(made)
    assert not key.verifier("log.example/2").check(made)
    assert not VerifierKey("log.example/1", bytes(32)).check(made)


NO_CHECKPOINT = [
    b"",
    b"\n\n",
    CHECKPOINT[:-1],
    CHECKPOINT.replace(b"\n\n", b"\n"),
    CHECKPOINT.replace(b"20852163", b"020852163"),
    CHECKPOINT.replace(b"20852163", b"-1"),
    CHECKPOINT.replace(b"20852163", b"9" * 30),
    CHECKPOINT.replace(b"20852163", b"1\t"),
    CHECKPOINT.replace(b"q2I=", b"q2J="),
    CHECKPOINT.replace(b"CsUY", b""),
    CHECKPOINT.replace(b"example.com/behind-the-sofa\n2", b"\n2"),
    CHECKPOINT.replace("— ".encode(), b"- "),
    CHECKPOINT.replace(b"\n\n", b"\n\n\n"),
    b"\xff" + CHECKPOINT,
    CHECKPOINT + CHECKPOINT.split(b"\n\n")[1] * 64,
    CHECKPOINT * 1000,
]


@pytest.mark.parametrize("data", NO_CHECKPOINT)
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    """Another spelling, a cut, or no note at all is one of our errors."""
    with pytest.raises(ConfigurationError):
        LogCheckpoint.parse(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_checkpoint_or_an_error(data: bytes) -> None:
    """Nothing but our error comes of bytes that are no checkpoint."""
    for each in (data, CHECKPOINT[: len(data)] + data):
        try:
            assert LogCheckpoint.parse(each).to_bytes() == each
        except ConfigurationError:
            continue


@pytest.mark.parametrize(
    "text",
    ["", "x", "a+b+c", NEUMANN[:-1], NEUMANN.replace("c74f20a3", "c74f20a4"), NEUMANN + "A"],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    """A key that was typed wrong is an error, and never another key."""
    with pytest.raises(ConfigurationError):
        VerifierKey.parse(text)


def test_a_key_under_a_bad_name_signs_nothing() -> None:
    """A name with a blank could be taken for another one."""
    with pytest.raises(ConfigurationError):
        _neumann().sign("a b", "text")
    assert "Signature(name='a')" in repr(Signature("a", b"1234", b"5"))
