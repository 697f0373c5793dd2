"""Linux's cases of changing the keys of a live connection, and those of its offload drivers."""

import errno
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

import ktls
from conformance.linux import two_variants
from keyed_link import parameters
from record_reader import SUITES, RecordReader, Secrets, Suite, read_record
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

TLS13 = [suite for suite in SUITES if suite.tls_vminor == 4]
TLS12 = [suite for suite in SUITES if suite.tls_vminor == 3]

every_13 = pytest.mark.parametrize("suite", TLS13, ids=str)


@every_13
def test_rekey(make_link, suite: Suite) -> None:
    """Data, a KeyUpdate by hand, other keys, data; three times."""
    link = make_link(suite)
    for round_ in range(3):
        data = b"round %d" % round_
        assert link.sock.send(data) == len(data)
        assert read_record(link.peer, link.reader) == (23, data)
        control = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([22]))
        link.sock.sendmsg([KEY_UPDATE], [control])
        assert read_record(link.peer, link.reader) == (22, KEY_UPDATE)
        secrets = Secrets(suite)
        link.sock.rekey(parameters(secrets))
        link.reader = RecordReader(secrets)
    link.sock.send(b"the last")
    assert read_record(link.peer, link.reader) == (23, b"the last")


@two_variants
def test_rekey_tx(make_link, suite: Suite) -> None:
    """Linux takes the option again as a change of keys; here, as in FreeBSD, it stays EALREADY."""
    link = make_link(suite)
    with pytest.raises(OSError, match="session already") as caught:
        link.sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite)))
    assert caught.value.errno == errno.EALREADY
    link.sock.send(b"unchanged")
    assert read_record(link.peer, link.reader) == (23, b"unchanged")


@pytest.mark.parametrize("suite", TLS12, ids=str)
def test_rekey_fail_12(make_link, suite: Suite) -> None:
    link = make_link(suite)
    with pytest.raises(OSError, match="no key update") as caught:
        link.sock.rekey(parameters(Secrets(suite)))
    assert caught.value.errno == errno.EBUSY
    link.sock.send(b"unchanged")
    assert read_record(link.peer, link.reader) == (23, b"unchanged")


@pytest.mark.parametrize("other", SUITES, ids=str)
@every_13
def test_rekey_fail_13(make_link, suite: Suite, other: Suite) -> None:
    """Another version or cipher: no effect."""
    link = make_link(suite)
    if other == suite:
        link.sock.rekey(parameters(Secrets(suite), rec_seq=bytes(8)))
        return
    with pytest.raises(OSError, match="keeps version and cipher") as caught:
        link.sock.rekey(parameters(Secrets(other)))
    assert caught.value.errno == errno.EINVAL
    link.sock.send(b"unchanged")
    assert read_record(link.peer, link.reader) == (23, b"unchanged")


@pytest.mark.parametrize(
    ("rekeys", "size"),
    [
        pytest.param(1, 4096, id="single"),
        pytest.param(99, 4096, id="multiple"),
        pytest.param(9, 512, id="small_buf"),
        pytest.param(3, 2 << 20, id="large_buf"),
        pytest.param(20, 0, id="random_buf"),
    ],
)
@every_13
def test_tls_offload_rekey(make_link, suite: Suite, rekeys: int, size: int) -> None:
    """Counted: as many changes as asked for, and no failure."""
    link = make_link(suite)
    secrets = TrafficSecret(suite).row(rekeys)
    before = ktls.sysctl["kern.ipc.tls.stats.rekeys"]
    failed = ktls.sysctl["kern.ipc.tls.stats.failed_crypto"]
    sent = []
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_generations, link.peer, link.reader, secrets[0])
        for secret in secrets:
            sent.append(random.randbytes(size or random.randrange(1, 100_000)))
            link.sock.sendall(sent[-1])
            link.sock.rekey(secret.value)
        link.sock.close()
        generations = reading.result(30)
    received = [
        b"".join(payload for kind, payload in generation if kind == 23)
        for generation in generations
    ]
    assert received == [*sent, b""]
    assert ktls.sysctl["kern.ipc.tls.stats.rekeys"] - before == rekeys
    assert ktls.sysctl["kern.ipc.tls.stats.failed_crypto"] == failed
