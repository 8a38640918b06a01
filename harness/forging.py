"""How a hostile wallet signs: transactions that nobody may execute, each wrong in one way and right in all others."""

from __future__ import annotations

from msgspec.structs import replace

from harness.genesis import Genesis, Wallet
from nodes.messages import Transaction, tx_id

UNSIGNED = "unsigned"  # 64 zero bytes
OTHER_SIGNER = "other-signer"  # signed by another wallet
OTHER_SIGNATURE = "other-signature"  # the wallet's own, of another transaction
OTHER_ACCOUNT = "other-account"  # sent from somebody else's account, signed by the thief
OTHER_CHAIN = "other-chain"  # named for another chain, and signed for it
OTHER_CLAN = "other-clan"  # pays an account that another clan owns; the signature is good
DOUBLE_SPEND = "double-spend"  # one of two under the same sequence number; both signatures are good
FORGERIES = (UNSIGNED, OTHER_SIGNER, OTHER_SIGNATURE, OTHER_ACCOUNT, OTHER_CHAIN, OTHER_CLAN, DOUBLE_SPEND)


def signed(genesis: Genesis, wallet: Wallet, blank: Transaction, forgery: str = "") -> Transaction:
    """`blank` as this wallet hands it in: with its signature, or with what the forgery has in its place.

    Raises ValueError for a forgery that is not known.
    """
    if forgery not in ("", *FORGERIES):
        raise ValueError(f"no forgery {forgery!r}; there are {', '.join(FORGERIES)}")
    if forgery == UNSIGNED:
        return blank
    if forgery == OTHER_CHAIN:
        blank = replace(blank, chain=f"{blank.chain}-2")
    signer = another(genesis, wallet).signer if forgery == OTHER_SIGNER else wallet.signer
    what = replace(blank, expiry_ms=blank.expiry_ms + 1) if forgery == OTHER_SIGNATURE else blank
    statement = replace(genesis.domain, chain=what.chain).transaction(tx_id(what))
    return replace(blank, signature=signer.sign(statement))


def another(genesis: Genesis, wallet: Wallet) -> Wallet:
    """A wallet with a funded account that is not this one (of whatever clan): the next by number."""
    return genesis.wallet((wallet.number + 1) % len(genesis.config.accounts))
