/* Rate limits in JSON: {"bytes": N, "bytes_burst": N, "ops": N, "ops_burst": N}; see config_json.h.
 *
 * Example: `{"path": "x.img", "rate": {"bytes": "10M", "ops": 500}}`
 */
#include "cli/config_json.h"
#include "cli/options.h"

#include <string.h>

static bool read_number(json_t *value, uint64_t *number)
{
	if (json_is_string(value))
		return parse_size(json_string_value(value), number) && *number > 0 && *number <= INT64_MAX;
	if (!json_is_integer(value) || json_integer_value(value) <= 0)
		return false;
	*number = (uint64_t)json_integer_value(value);
	return true;
}

bool config_json_rate(json_t *object, struct rate_limit *limit)
{
	const struct {
		const char *key;
		uint64_t *number;
	} numbers[] = {{"bytes", &limit->bytes.per_second},
		       {"bytes_burst", &limit->bytes.burst},
		       {"ops", &limit->ops.per_second},
		       {"ops_burst", &limit->ops.burst}};
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		size_t i = 0;

		while (i < ARRAY_SIZE(numbers) && strcmp(key, numbers[i].key))
			i++;
		if (i == ARRAY_SIZE(numbers) || !read_number(value, numbers[i].number))
			return false;
	}
	/* A burst of what? */
	return json_is_object(object) && (limit->bytes.per_second || !limit->bytes.burst) &&
	       (limit->ops.per_second || !limit->ops.burst);
}

static void set(json_t *object, const char *key, uint64_t number)
{
	if (number)
		json_object_set_new(object, key, json_integer((json_int_t)number));
}

json_t *config_json_print_rate(const struct rate_limit *limit)
{
	json_t *object = json_object();

	set(object, "bytes", limit->bytes.per_second);
	set(object, "bytes_burst", limit->bytes.burst);
	set(object, "ops", limit->ops.per_second);
	set(object, "ops_burst", limit->ops.burst);
	return object;
}
