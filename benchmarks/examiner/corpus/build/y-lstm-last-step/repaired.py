"""Classify short sensor recordings (rising, falling, oscillating, flat)."""
import copy
import math

import torch
import torch.nn as nn

torch.manual_seed(8)
N_CLASSES, T, FEATURES = 4, 20, 3


def make_recordings(n):
    kind = torch.randint(0, N_CLASSES, (n,))
    t = torch.linspace(0, 1, T)
    base = torch.stack([2 * t - 1, 1 - 2 * t, torch.sin(4 * math.pi * t), torch.zeros(T)])
    signal = base[kind].unsqueeze(-1) * (0.7 + 0.6 * torch.rand(n, 1, FEATURES))
    return signal + 0.35 * torch.randn(n, T, FEATURES), kind


class SensorLSTM(nn.Module):
    def __init__(self, input_size, hidden_size, num_classes):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers=1, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        # x: (batch, time, feature)
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def batches(x, y, size, shuffle):
    order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
    for i in range(0, len(x), size):
        j = order[i:i + size]
        yield x[j], y[j]


def validate(model, x, y):
    model.eval()
    loss = correct = 0.0
    with torch.no_grad():
        for xb, yb in batches(x, y, 100, shuffle=False):
            logits = model(xb)
            loss += nn.functional.cross_entropy(logits, yb, reduction="sum").item()
            correct += (logits.argmax(1) == yb).sum().item()
    return loss / len(x), correct / len(x)


x_train, y_train = make_recordings(1200)
x_val, y_val = make_recordings(300)

model = SensorLSTM(FEATURES, 32, N_CLASSES)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
criterion = nn.CrossEntropyLoss()

best, best_state, patience = float("inf"), None, 0
for epoch in range(1, 7):
    model.train()
    total = 0.0
    for xb, yb in batches(x_train, y_train, 40, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    val_loss, val_acc = validate(model, x_val, y_val)
    print(f"epoch {epoch:2d}  train {total / len(x_train):.4f}  val {val_loss:.4f}  acc {val_acc:.3f}")
    if val_loss < best - 1e-4:
        best, best_state, patience = val_loss, copy.deepcopy(model.state_dict()), 0
    else:
        patience += 1
        if patience == 3:
            print("early stop")
            break

model.load_state_dict(best_state)
print("best validation: loss %.4f, accuracy %.3f" % validate(model, x_val, y_val))
