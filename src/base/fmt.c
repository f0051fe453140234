/* Formatted text without libc: see fmt.h; the accepted conversions are listed in log.h.
 *
 * Example: `fmt_print(buf, sizeof(buf), "%-8s %08lx %.*s", name, value, (int)len, text);`
 *
 * A conversion that isn't known ends the interpretation: the rest of the format is copied as it stands,
 * so that a mistake shows in the text and never walks off the argument list.
 */
#include "base/fmt.h"

struct sink {
	char *out;
	size_t size;
	size_t length; /* of the whole text, also what did not fit */
};

struct conversion {
	bool left, zero, alternate;
	unsigned width;
	unsigned precision; /* UINT32_MAX: none given */
	unsigned longs;     /* l: 1, ll and z: 2 */
};

#define NO_PRECISION UINT32_MAX
#define MAX_WIDTH    1024u

static void put(struct sink *sink, char c)
{
	if (sink->length + 1 < sink->size)
		sink->out[sink->length] = c;
	sink->length++;
}

static void put_repeated(struct sink *sink, char c, unsigned count)
{
	while (count-- > 0)
		put(sink, c);
}

static unsigned decimal(const char **format)
{
	unsigned value = 0;

	for (; **format >= '0' && **format <= '9'; (*format)++)
		if (value < MAX_WIDTH)
			value = value * 10 + (unsigned)(**format - '0');
	return value < MAX_WIDTH ? value : MAX_WIDTH;
}

static void put_field(struct sink *sink, const struct conversion *c, const char *text, unsigned len)
{
	unsigned fill = c->width > len ? c->width - len : 0;

	if (!c->left)
		put_repeated(sink, ' ', fill);
	for (unsigned i = 0; i < len; i++)
		put(sink, text[i]);
	if (c->left)
		put_repeated(sink, ' ', fill);
}

static void put_string(struct sink *sink, const struct conversion *c, const char *text)
{
	unsigned len = 0;

	if (!text)
		text = "(null)";
	while (len < c->precision && text[len])
		len++;
	put_field(sink, c, text, len);
}

static void put_number(struct sink *sink, const struct conversion *c, uint64_t value, unsigned base,
		       const char *prefix, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	unsigned len = 0, prefix_len = 0, zeros = 0, fill;

	do {
		text[len++] = digits[value % base];
		value /= base;
	} while (value);
	while (prefix[prefix_len])
		prefix_len++;
	if (c->precision != NO_PRECISION)
		zeros = c->precision > len ? c->precision - len : 0;
	else if (c->zero && !c->left && c->width > len + prefix_len)
		zeros = c->width - len - prefix_len;
	fill = c->width > len + prefix_len + zeros ? c->width - len - prefix_len - zeros : 0;

	if (!c->left)
		put_repeated(sink, ' ', fill);
	while (*prefix)
		put(sink, *prefix++);
	put_repeated(sink, '0', zeros);
	while (len > 0)
		put(sink, text[--len]);
	if (c->left)
		put_repeated(sink, ' ', fill);
}

/* Parses flags, width, precision and length; a `*` takes an int. */
static const char *parse(const char *format, struct conversion *c, va_list *args)
{
	*c = (struct conversion){.precision = NO_PRECISION};
	for (;; format++) {
		if (*format == '-')
			c->left = true;
		else if (*format == '0')
			c->zero = true;
		else if (*format == '#')
			c->alternate = true;
		else
			break;
	}
	if (*format == '*') {
		int width = va_arg(*args, int);

		c->left = c->left || width < 0;
		c->width = width < 0 ? 0u - (unsigned)width : (unsigned)width;
		if (c->width > MAX_WIDTH)
			c->width = MAX_WIDTH;
		format++;
	} else {
		c->width = decimal(&format);
	}
	if (*format == '.') {
		format++;
		if (*format == '*') {
			int precision = va_arg(*args, int);

			c->precision = precision < 0 ? NO_PRECISION : (unsigned)precision;
			format++;
		} else {
			c->precision = decimal(&format);
		}
	}
	for (; *format == 'l' || *format == 'z'; format++)
		c->longs += *format == 'z' ? 2 : 1;
	return format;
}

static uint64_t unsigned_argument(const struct conversion *c, va_list *args)
{
	if (c->longs == 0)
		return va_arg(*args, unsigned);
	return c->longs == 1 ? va_arg(*args, unsigned long) : va_arg(*args, unsigned long long);
}

static int64_t signed_argument(const struct conversion *c, va_list *args)
{
	if (c->longs == 0)
		return va_arg(*args, int);
	return c->longs == 1 ? va_arg(*args, long) : va_arg(*args, long long);
}

/* Numbers print at most MAX_WIDTH zeros whatever the precision says. */
static void clamp_precision(struct conversion *c)
{
	if (c->precision != NO_PRECISION && c->precision > MAX_WIDTH)
		c->precision = MAX_WIDTH;
}

/* One conversion; false if it is not known. */
static bool convert(struct sink *sink, char kind, struct conversion *c, va_list *args)
{
	int64_t value;
	char one;

	if (kind != 's')
		clamp_precision(c);
	switch (kind) {
	case '%':
		put(sink, '%');
		return true;
	case 'c':
		one = (char)va_arg(*args, int);
		put_field(sink, c, &one, 1);
		return true;
	case 's':
		put_string(sink, c, va_arg(*args, const char *));
		return true;
	case 'd':
	case 'i':
		value = signed_argument(c, args);
		put_number(sink, c, value < 0 ? 0u - (uint64_t)value : (uint64_t)value, 10,
			   value < 0 ? "-" : "", false);
		return true;
	case 'u':
		put_number(sink, c, unsigned_argument(c, args), 10, "", false);
		return true;
	case 'x':
	case 'X':
		put_number(sink, c, unsigned_argument(c, args), 16, c->alternate ? "0x" : "", kind == 'X');
		return true;
	case 'p':
		put_number(sink, c, (uintptr_t)va_arg(*args, void *), 16, "0x", false);
		return true;
	default:
		return false;
	}
}

size_t fmt_vprint(char *out, size_t size, const char *format, va_list args)
{
	struct sink sink = {.out = out, .size = size};
	struct conversion c;
	va_list copy;

	va_copy(copy, args);
	while (*format) {
		const char *percent = format;

		if (*format != '%') {
			put(&sink, *format++);
			continue;
		}
		format = parse(format + 1, &c, &copy);
		if (*format && convert(&sink, *format, &c, &copy)) {
			format++;
			continue;
		}
		while (*percent)
			put(&sink, *percent++);
		break;
	}
	va_end(copy);
	if (size > 0)
		out[sink.length < size ? sink.length : size - 1] = '\0';
	return sink.length;
}

size_t fmt_print(char *out, size_t size, const char *format, ...)
{
	va_list args;
	size_t length;

	va_start(args, format);
	length = fmt_vprint(out, size, format, args);
	va_end(args);
	return length;
}
