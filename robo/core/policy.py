"""Business numbers, each with its reason; a firm may replace the whole value, never a constant."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Policy:
    """Every number that a business person may want to change."""

    deposit_cents_min: int = 100
    """$1: the smallest order that fractional brokers accept, so smaller money could not work."""

    deposit_cents_max: int = 25_000_000
    """$250,000 a deposit: larger sums deserve a wire and a second look."""

    deposit_daily_cents_max: int = 50_000_000
    """$500,000 a customer a day, over all accounts."""

    move_in_cents_max: int = 10_000_000_000
    """$100 million of positions a transfer from another firm: more deserves a person's look."""

    move_ins_max: int = 50
    """Transfers of positions an account may have, canceled ones apart: more is a mistake."""

    order_notional_cents_min: int = 100
    """$1 on buys. Source: the broker's documented minimum for notional orders."""

    advance_cents_max: int = 100_000
    """$1,000 of pending deposits may be invested before the bank confirms them."""

    advance_lifetime_deposits_min: int = 0
    """How many settled deposits a customer needs before we advance; 0 = from the first one."""

    cure_window_days: int = 10
    """Days to bring back a returned deposit before anybody may sell; nothing is sold in them."""

    deposit_settle_sessions: int = 5
    """Sessions after which we take a deposit as settled where the bank has not said when."""

    bank_retell_minutes: int = 60
    """A sent withdrawal is told to a bank that has said nothing of it again after so long: often
    enough to heal a lost request the same day, and not at every run, two seconds apart."""

    plan_catch_up_max: int = 3
    """Missed dates of a plan made up for after downtime; older ones are reported, not pulled."""

    plans_max: int = 10
    """Recurring plans an account may have: more is a mistake or an attack."""

    bank_links_max: int = 10
    """Linked bank accounts a customer may have, for the same reason."""

    ladder_all_cents: int = 2_000_000_000
    """$20 million: who has it holds the whole index, where an average position is $40,000."""

    own_index_names_min: int = 10
    """An index of a customer's own holds as many names as our baskets do, or more."""

    own_index_name_ppm_max: int = 250_000
    """No name of it is more than a quarter: what funds may at most hold of one issuer and still be
    called diversified for taxes. Source: 26 U.S.C. 851(b)(3)(B)."""

    ladders: str = ""
    """The text of a firm's own table of ladders and segments, in place of the one that ships with
    us: which customers hold how many names, and may use what, is a firm's to say."""

    ladder_rise_ppm_max: int = 500_000
    """A price more than half above the least of a name's last closes adds no names to an account: a
    wrong price goes as it came, and the count that rests on it never would."""

    ladder_closes: int = 5
    """A week of closes: what is wrong that long, a reconciliation or a person has seen."""

    recapture_ppm: int = 500_000
    """Half of the long-term tax on a harvested loss is counted as coming back: the lower basis is
    taxed once it is sold, but later, and never where shares are given away or left to heirs."""

    assumed_income_cents: int = 8_000_000
    """$80,000 of taxable income where a customer has told us nothing: in 2026 that is 22 % on
    short-term and 15 % on long-term gains for a single filer, the rates in the middle."""

    sell_margin_ppm: int = 5_000
    """0.5 % more is sold than a withdrawal needs, so that a falling price and fees do not leave it
    short; what is left over is invested again."""

    access_token_minutes: int = 15
    """Short, so that a stolen access token is worth little."""

    refresh_token_days: int = 30
    """Sliding life of a refresh family."""

    refresh_family_days_max: int = 90
    """Absolute life of a refresh family, however often it is used."""

    verify_mail_hours: int = 72
    """Life of the link that proves an e-mail address: a long weekend."""

    reset_mail_minutes: int = 30
    """Life of the link that resets a password: it opens the account, so it is short."""

    document_mail_days: int = 30
    """Life of the link to a delivered document; opening it proves electronic access."""

    lock_minutes: int = 60
    """How long logins are refused after too many failures; a password reset ends it at once."""

    step_up_minutes: int = 10
    """How long a shown password or second factor covers sensitive actions."""

    refresh_replay_seconds: int = 10
    """One identical replay of a refresh is answered in this time: a lost reply is no theft."""

    password_length_min: int = 15
    """Source: NIST SP 800-63B-4, single factor."""

    password_length_min_mfa: int = 8
    """Source: NIST SP 800-63B-4, when a second factor is enrolled."""

    password_length_max: int = 256
    """Long passphrases are welcome; megabytes are an attack."""

    login_failures_max: int = 100
    """Consecutive failures before a lock. Source: NIST SP 800-63B-4 section 3.2.2."""

    idempotency_hours: int = 24
    """How long a stored reply can be replayed."""

    anchor_minutes_max: int = 60
    """Chain heads leave the database at least this often."""

    unheard_asks_min: int = 3
    """How often a broker whose lists lag must say that it has no such order before it is told
    again: one "not found" is no proof. Source: Alpaca's guidance not to send again unconfirmed."""

    doubt_seconds_min: int = 600
    """So long a broker whose lists lag must go on saying that it has no such order where believing
    it too early doubles one: before a refusal ends what was told before without an answer (the list
    was believed once already), and before telling again where a taken id is taken again. Ten
    minutes cost nobody anything."""

    custody_look_seconds: int = 60
    """An account or a transfer at the broker that is on its way is looked at again after a minute,
    where no event says so earlier: events may be silent, and a customer waits for it."""

    custody_review_hours: int = 24
    """What is at rest at the broker is looked at once a day: an account that it has restricted, a
    transfer that has come back."""

    transfer_lost_minutes: int = 60
    """So long a transfer whose answer was lost may still turn up in the broker's list; after that a
    person decides. Source: the adapter's own patience."""

    transfer_return_days: int = 60
    """How long a transfer may come back. Source: Nacha's time for unauthorised debits."""

    order_cents_max: int = 500_000_000
    """$5,000,000 an order: more for one account in one name is a mistake until a person says no."""

    block_cents_max: int = 5_000_000_000
    """$50,000,000 a broker order: what a market order can do to a large name begins to matter."""

    turnover_ppm_max: int = 2_500_000
    """2.5 times its value an account may trade a day: everything sold and bought again is twice."""

    firm_turnover_cents_max: int = 200_000_000_000
    """$2 billion a firm and day: a runaway planner stops here."""

    same_orders_max: int = 3
    """Orders of one account, name, side and size in one window; more is a plan made twice."""

    collar_ppm: int = 250_000
    """25 % from the last mark: the exchanges' own bands for large names stop far below it."""

    quote_age_seconds_max: int = 900
    """A quote older than 15 minutes, the delay of free feeds, is no price in an open market."""

    cut_off_minutes: int = 5
    """Minutes before the close after which nothing new is sent: a day order needs time to fill."""

    look_again_seconds: int = 10
    """A run that tells orders for longer looks at prices, halts and restrictions again this often;
    the kill switch, breaks and the hour it looks at before each order."""

    block_hours_max: int = 24
    """An order without an end so long after the close of its session, or an execution that never
    came for so long, is a person's."""

    compare_days_max: int = 5
    """At the latest so many days after the last one an account of its own at the broker is compared
    whole again, though nothing was told of it: a week of sessions. 0: every night, none is ever
    left out."""

    execution_minutes_max: int = 60
    """So long after an order was told, executions that the broker counts and has not told of are
    put before the operators; they come within seconds."""

    chase_asks_max: int = 50
    """Orders asked for in one run of `chase-executions`: a quarter of a minute's requests at Alpaca
    (200), every 15 minutes, in the process that sends; the nightly comparison looks at all."""

    action_days_max: int = 10
    """So many days after its ex-date a corporate action may still explain a difference, and holds
    orders of its name until it is booked; brokers book splits within days, spin-offs in a week."""

    rejections_max: int = 3
    """How often a day a broker may refuse a name and side in one of its accounts before we stop
    asking until tomorrow."""

    tradability_minutes: int = 60
    """How long what a broker said it trades is believed; its list moves a few times a day."""

    whole_share_margin_ppm: int = 10_000
    """1 % fewer whole shares are bought than the money is worth, so that a rising price fits."""

    write_lock_ms_max: int = 50
    """How long a nightly batch may hold SQLite's write lock, so that deposits go on."""

    risk_aversion: int = 80
    """Lambda of lambda/2 x tracking error squared: what a customer gives up for following closely.
    Between the 48 and 160 at which replays of docs/optimizer.md's kind harvested well."""

    trade_cost_ppm: int = 300
    """3 bp a dollar traded: half the spread of large American shares, and a fee."""

    trade_part_ppm: int = 50
    """Trades below half a basis point of an account are left for another day."""

    cash_price_ppm: int = 200_000
    """What a dollar left in cash costs a plan: more than the risk that any single purchase adds, so
    that money is invested, and less than taxes that would be paid for it."""

    long_wait_days: int = 45
    """A gain that turns long-term within so many days waits for it where it can."""

    price_margin_ppm: int = 20_000
    """2 %: a plan keeps within a gain budget even if prices rise by so much before it trades."""

    close_part_days: int = 3
    """A closing that is not through after so many days pays what has settled, and the rest later:
    a sale on the next session, even after a weekend, has settled by then."""

    close_part_cents_min: int = 100
    """$1, as the smallest deposit: a bank may refuse less, and a closing goes on without it."""

    wash_margin_ppm: int = 100_000
    """10 %: a lot whose loss would be washed is sold only at a gain that outlasts such a fall."""

    harvest_patience_ppm: int = 300_000
    """A loss is taken when its name's deepest lot has lost 0.3 of the name's monthly volatility.
    Source: chosen among four on real prices, docs/tax-study.md."""

    harvest_cents_min: int = 100
    """$1 after costs: a loss that saves less is not worth thirty days without the name."""

    model_sessions: int = 5
    """Risk is fitted again every week of sessions: forecasts held better so than refreshed monthly
    (docs/risk.md), and a night has more to do than to fit."""

    idle_model_sessions: int = 21
    """Where no account trades by the model it is kept a month: it only answers previews."""

    @classmethod
    def default(cls) -> Self:
        """Return the house policy."""
        return cls()
