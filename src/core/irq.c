/* Interrupt lines: a device pulls, whatever the board connected hears it.
 *
 * Example: `irq_set(&uart->irq, 1);`
 */
#include "core/irq.h"

void irq_set(const struct irq_line *line, int level)
{
	if (line->set)
		line->set(line->ctx, line->pin, level);
}

void irq_pulse(const struct irq_line *line)
{
	irq_set(line, 1);
	irq_set(line, 0);
}
