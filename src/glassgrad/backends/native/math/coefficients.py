"""The constants of the elementwise functions, for float and for double.

The coefficients are minimax fits made by ``tools/minimax.py``, constant term first. The stated error is that of the
fit, relative to the whole function. Rounding errors come on top.
"""

from __future__ import annotations

from glassgrad.common.frozen import frozen

Coefficients = tuple[float, ...]


@frozen
class Format:
    """An IEEE format and its coefficients."""

    integer: str  # the integer type of the same width
    width: int  # bits
    fraction: int  # bits of the fraction (without the implicit leading one)
    bias: int  # exponent bias
    exp_range: tuple[float, float]  # outside of it exp is 0 or inf
    ln2: tuple[float, float]  # ln 2 as a head, whose product with any exponent is exact, and the rest
    half_pi: tuple[float, ...]  # in doubles: heads, exact times any integer below 2**20, and the rest
    exp: Coefficients  # (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2
    sin: Coefficients  # (sin(r) / r - 1) / r**2 in r**2, on |r| <= pi / 4
    cos: Coefficients  # (cos(r) - 1 + r**2 / 2) / r**4 in r**2, on |r| <= pi / 4
    erf: Coefficients  # log(erfc(x)) / x for 0 <= x <= erf_limit, or its numerator
    erf_below: Coefficients  # the denominator, if any
    erf_limit: float  # from here on erf is 1
    tanh_limit: float  # from here on tanh is 1

    @property
    def magic(self) -> float:
        """1.5 * 2**fraction: adding it rounds a small number to an integer, which is then in the low bits."""
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
    erf=(
        -1.12837917,
        -0.636619382,
        -0.102777829,
        0.0191530615,
        0.000160395369,
        -0.00166702115,
        0.000632830151,
        -0.000117638451,
        9.25584525e-06,
    ),  # 2^-27.9
    erf_below=(),
    erf_limit=3.95,
    tanh_limit=10.0,
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
    erf=(
        -1.1283791670955126,
        -2.5229330286743998,
        -2.6694870954069208,
        -1.71392781652474,
        -0.72015359511029819,
        -0.19979935169001742,
        -0.034954942282531848,
        -0.0033664545532698961,
        -0.00011825408262122878,
    ),  # 2^-59.0
    erf_below=(
        1,
        1.6717015975775715,
        1.3315348646998628,
        0.63238469545461151,
        0.18868297651462715,
        0.034396164804461324,
        0.0033640140220489415,
        0.00011827511821475958,
    ),
    erf_limit=5.95,
    tanh_limit=20.0,
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
# With s = v / (2 + v) and z = s**2: (log(1 + v) - 2 s) / (s z) in z, on the same interval: 2^-58.5.
ATANH: Coefficients = (
    0.6666666666666734,
    0.39999999999416314,
    0.28571428742029087,
    0.22222198609399821,
    0.18183562476202325,
    0.15314097035466989,
    0.14795493046328539,
)
# The same function without its leading term, ((log(1 + v) - 2 s) / (s z) - 2 / 3) / z: 2^-65.3.
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
