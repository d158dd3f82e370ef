"""The constants of the elementwise functions, for float and for double.

Every coefficient is a minimax fit made by ``tools/minimax.py`` (constant term first). The stated error is
that of the fit, relative to the whole function; rounding comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass

Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class Format:
    """An IEEE format and its coefficients."""

    integer: str  # the integer type of the same width
    width: int  # bits in all
    fraction: int  # bits after the leading one
    bias: int  # of the exponent
    exp_range: tuple[float, float]  # beyond, exp is 0 or inf
    ln2: tuple[float, float]  # a head that times any exponent is exact, and the rest
    half_pi: tuple[float, ...]  # in double: heads that times any integer below 2**20 are exact, and the rest
    exp: Coefficients  # (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2
    sin: Coefficients  # (sin(r) / r - 1) / r**2 in r**2, on |r| <= pi / 4
    cos: Coefficients  # (cos(r) - 1 + r**2 / 2) / r**4 in r**2, there too
    tanh: tuple[Coefficients, Coefficients]  # tanh(x) / x = P / Q in x**2, below tanh_limit
    tanh_limit: float  # from here on tanh is 1
    erf: tuple[Coefficients, Coefficients]  # erf(x) / x = P / Q in x**2, below erf_limit
    erf_limit: float  # from here on erf is 1 (float), or else comes from ERFCX (double)

    @property
    def magic(self) -> float:
        """1.5 * 2**fraction: adding it rounds a small number to an integer, found in the low bits."""
        return 1.5 * 2.0**self.fraction

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.fraction

    @property
    def sign(self) -> int:
        """The sign bit, as a signed integer."""
        return -(1 << (self.width - 1))

    @property
    def fraction_mask(self) -> int:
        """The bits of the fraction."""
        return (1 << self.fraction) - 1


FLOAT = Format(
    integer="i32",
    width=32,
    fraction=23,
    bias=127,
    exp_range=(-104.5, 89.0),
    ln2=(0.693145752, 1.42860682e-06),
    half_pi=(1.5707963267341256, 6.0771005065061922e-11),
    exp=(0.499999935, 0.166665207, 0.0416683869, 0.00836870968, 0.00138146417),  # 2^-28.3
    sin=(-0.166666546, 0.0083321609, -0.00019515295),  # 2^-28.0
    cos=(0.0416666457, -0.00138873163, 2.44331591e-05),  # 2^-33.0
    tanh=(  # 2^-30.0
        (1.0, 0.137853586, 0.00400850215, 3.15889229e-05, 5.07617779e-08),
        (1.0, 0.47118691, 0.0277374872, 0.000420739547, 1.6174751e-06, 7.37435069e-10),
    ),
    tanh_limit=9.02,
    erf=(  # 2^-25.6
        (1.12837915, 0.190785511, 0.0527904995, 0.00377967908, 0.000284809777, 2.04195263e-06),
        (1.0, 0.502411976, 0.114258209, 0.0149975773, 0.00116522893, 3.80039482e-05),
    ),
    erf_limit=3.92,
)

DOUBLE = Format(
    integer="i64",
    width=64,
    fraction=52,
    bias=1023,
    exp_range=(-746.0, 710.0),
    ln2=(0.69314718055989033, 5.4979230187083712e-14),
    half_pi=(1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603688996e-32),
    exp=(  # 2^-57.9
        0.50000000000000111,
        0.16666666666666413,
        0.04166666666653026,
        0.0083333333334942705,
        0.0013888888943598661,
        0.00019841269506889477,
        2.480149313512039e-05,
        2.7557586183706501e-06,
        2.7630234331356205e-07,
        2.5000095047475802e-08,
    ),
    sin=(  # 2^-57.9
        -0.1666666666666663,
        0.0083333333333221321,
        -0.00019841269829597725,
        2.7557313623494792e-06,
        -2.5050747999522584e-08,
        1.5896239560805642e-10,
    ),
    cos=(  # 2^-64.0
        0.041666666666666595,
        -0.001388888888887306,
        2.480158728885273e-05,
        -2.7557314179440111e-07,
        2.0875700846760934e-09,
        -1.1358536212871998e-11,
    ),
    tanh=(  # 2^-62.5
        (
            1.0,
            0.15345713116771431,
            0.006224343565297631,
            0.0001033050678406048,
            8.3140092713016776e-07,
            3.4796855398885035e-09,
            7.6527064474189695e-12,
            8.4660076338084628e-15,
            4.187915365926313e-18,
            7.0624074055253812e-22,
            1.7137553609012843e-26,
        ),
        (
            1.0,
            0.48679046450104763,
            0.035154498398980182,
            0.00088432990228161032,
            1.0084463185299547e-05,
            5.8258486032609121e-08,
            1.7709474797768404e-10,
            2.7879659251973452e-13,
            2.1065798004858634e-16,
            6.4003682580365212e-20,
            5.0083389190542673e-24,
        ),
    ),
    tanh_limit=19.07,
    erf=(  # 2^-60.3
        (
            1.1283791670955126,
            0.143506599594312,
            0.045483604897223043,
            0.001877408878510825,
            0.00019688464876395649,
            7.771414117493275e-08,
        ),
        (
            1.0,
            0.46051274587398067,
            0.093813043951226652,
            0.010693074170879426,
            0.00069249769556930347,
            2.0810233802955602e-05,
        ),
    ),
    erf_limit=1.0,
)

FORMATS = {"float": FLOAT, "double": DOUBLE}

# (log(1 + v) - v + v**2 / 2) / v**3 on sqrt(1/2) <= 1 + v < sqrt(2): 2^-27.4.
LOG_FLOAT: Coefficients = (
    0.333333317,
    -0.25000821,
    0.200012286,
    -0.166233585,
    0.142017246,
    -0.131601387,
    0.127617727,
    -0.0763484005,
)
# With s = v / (2 + v) and z = s**2: (log(1 + v) - 2 s) / (s z) in z, there too: 2^-58.5.
ATANH: Coefficients = (
    0.6666666666666734,
    0.39999999999416314,
    0.28571428742029087,
    0.22222198609399821,
    0.18183562476202325,
    0.15314097035466989,
    0.14795493046328539,
)
# The same with its leading term apart, (... / (s z) - 2 / 3) / z: 2^-65.3.
TWO_THIRDS = (0.66666666666666663, 3.7007434154171883e-17)
ATANH2: Coefficients = (
    0.40000000000002245,
    0.28571428570104301,
    0.22222222519105428,
    0.18181784436587556,
    0.15386754215081436,
    0.13256888593277136,
    0.13195685283104927,
)
# exp(x**2) * erfc(x) = P / Q in x, on 1 <= x <= 6: 2^-59.4 of erf.
ERFCX: tuple[Coefficients, Coefficients] = (
    (
        0.99999988907276816,
        1.3901046793902549,
        0.94893330237444107,
        0.37324854293361986,
        0.084237180244474102,
        0.0089135343641610024,
    ),
    (
        1.0,
        2.5184826762183969,
        2.7907425739651601,
        1.7560155559447503,
        0.66952505252246064,
        0.14930258542974389,
        0.015798951651867094,
    ),
)
