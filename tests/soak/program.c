/* Something for compilers to work on: no headers, many small functions of every sort. */
typedef unsigned long u64;
typedef unsigned int u32;
struct node { struct node *next; u64 key; double weight; char name[16]; };

#define FUNCTIONS(n) \
u64 mix##n(u64 a, u64 b) { u64 h = a * 0x9e3779b97f4a7c15ul + n; for (u32 i = 0; i < (b & 63); i++) h = (h << 7 | h >> 57) ^ (b + i * n); return h; } \
static int compare##n(const struct node *a, const struct node *b) { return a->key < b->key ? -n : a->key > b->key ? n : 0; } \
struct node *merge##n(struct node *a, struct node *b) { struct node head, *tail = &head; while (a && b) { if (compare##n(a, b) <= 0) { tail->next = a; a = a->next; } else { tail->next = b; b = b->next; } tail = tail->next; } tail->next = a ? a : b; return head.next; } \
double series##n(const double *x, int count) { double sum = n; for (int i = 0; i < count; i++) sum += x[i] * x[(i * n) % count] / (1.0 + sum * sum); return sum; } \
void matrix##n(double (*a)[8], double (*b)[8], double (*c)[8]) { for (int i = 0; i < 8; i++) for (int j = 0; j < 8; j++) { double s = 0; for (int k = 0; k < 8; k++) s += a[i][k] * b[k][j]; c[i][j] = s * n; } } \
int parse##n(const char *text) { int state = n, value = 0; for (; *text; text++) switch (state % 5) { case 0: if (*text == '-') state = 1; else value = value * 10 + *text; break; case 1: value -= *text; state += 3; break; case 2: value ^= *text << (n & 7); state++; break; case 3: if (*text > 'm') state = n; break; default: value += n; state = *text; } return value; }
#define TEN(n) FUNCTIONS(n##0) FUNCTIONS(n##1) FUNCTIONS(n##2) FUNCTIONS(n##3) FUNCTIONS(n##4) \
	FUNCTIONS(n##5) FUNCTIONS(n##6) FUNCTIONS(n##7) FUNCTIONS(n##8) FUNCTIONS(n##9)

TEN(1)
TEN(2)
TEN(3)
TEN(4)
