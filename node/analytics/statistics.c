#include "node/analytics/statistics.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LN2 0.69314718055994530942

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

double stat_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)((bits >> 52) & 0x7ff) - 1023;
    double m = from_bits((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    if (m > 1.41421356237309504880) {
        m /= 2;
        exponent++;
    }
    /* log m = 2 artanh s, |s| < 0.172: the 13th term is below 1e-20. */
    const double s = (m - 1) / (m + 1), square = s * s;
    double sum = 0;
    for (int k = 25; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return exponent * LN2 + 2 * s * sum;
}

double stat_exp(double x)
{
    if (x < -700)
        return 0;
    const double k = (double)(int)(x / LN2 + (x < 0 ? -0.5 : 0.5));
    const double r = x - k * LN2;
    double sum = 1;
    for (int i = 16; i >= 1; i--)
        sum = 1 + sum * r / i;
    return sum * from_bits((uint64_t)(1023 + (int)k) << 52);
}

double stat_exp2(double x)
{
    return stat_exp(x * LN2);
}

double stat_normal_quantile(double p)
{
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                               1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                               6.680131188771972e+01, -1.328068155288572e+01};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                               -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                               3.754408661907416e+00};
    const double low = 0.02425;
    if (p > 1 - low)
        return -stat_normal_quantile(1 - p);
    if (p < low) {
        const double q = sqrt(-2 * stat_log(p));
        return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
               ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    }
    const double q = p - 0.5, r = q * q;
    return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
           (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

/* Hoare's quickselect with the median of three: equal values don't slow it. */
double stat_select(double *v, size_t n, size_t k)
{
    size_t left = 0, right = n - 1;
    while (left < right) {
        const double x = v[left], y = v[left + (right - left) / 2], z = v[right];
        const double pivot = x < y ? (y < z ? y : (x < z ? z : x)) : (x < z ? x : (y < z ? z : y));
        size_t i = left, j = right;
        for (;;) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i >= j)
                break;
            const double t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        /* All before i are at most the pivot, all from j + 1 on at least. */
        const size_t cut = v[j] <= pivot ? j : j - 1;
        if (k <= cut)
            right = cut;
        else
            left = cut + 1;
    }
    return v[k];
}

double stat_quantile(double *v, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t k = (size_t)at;
    const double low = stat_select(v, n, k), part = at - (double)k;
    if (k + 1 >= n || part <= 0)
        return low;
    double next = v[k + 1];
    for (size_t i = k + 2; i < n; i++)
        next = v[i] < next ? v[i] : next;
    return low + part * (next - low);
}

double stat_median(double *v, size_t n)
{
    return stat_quantile(v, n, 0.5);
}

double stat_mad_sigma(double *v, size_t n, double center)
{
    for (size_t i = 0; i < n; i++)
        v[i] = fabs(v[i] - center);
    return 1.4826 * stat_median(v, n);
}
