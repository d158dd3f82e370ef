"""The arguments of compiled code: the array of 64-bit words that the executable hands to ``run``, and that it reads.

0 steps   1 rows (int32 [steps, batch])   2 valid (bytes [steps, batch])   3 number of the first step
4 address of usleep, or 0   5 kernel   6 units   7 tickets   (these three of the kernel on offer)
8 the offer: number of the kernel << 32 | first free ticket << 16 | end of the free tickets
9 places of its buffers   10 rows of the batch that is being gathered   11 probed (bytes [steps])
12 rows of the batch after it   13 helpers: how many threads ``run_with_helpers`` starts besides its own
14 address of pthread_create   15 address of pthread_join   16 tickets done
24 ... data arrays, one per data input; then one array of numbers per hyperparameter; one per output; one per probe
(8, 16 and 24 stand in cache lines of their own.)

``shuffle``, which draws the orders of epochs, takes seven words:

0 where they go (int32 [epochs, length])   1 rows   2 length (rows and padding)   3 seed   4 stream   5 first epoch
6 how many epochs
"""

from __future__ import annotations

STEPS, ROWS, VALID, FIRST_STEP, SLEEP, KERNEL, UNITS, TICKETS = range(8)
WORD, PLACES, BATCH_ROWS, PROBED, NEXT_ROWS, DONE, ARRAYS = 8, 9, 10, 11, 12, 16, 24
HELPERS, CREATE, JOIN = 13, 14, 15
CLOSED = -1  # the offer that ends the work
ORDER, ORDER_ROWS, LENGTH, KEY, STREAM, EPOCH, EPOCHS = range(7)
ORDER_SLACK = 16  # numbers behind the last order that ``shuffle`` may write to

ALIGNMENT = 64  # bytes: the arena, and every buffer in it, begins at a cache line
TICKETS_PER_KERNEL = 16  # a shared kernel is cut into at most as many: more threads would find nothing to do
