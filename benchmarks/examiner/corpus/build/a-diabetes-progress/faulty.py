import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.metrics import r2_score

torch.manual_seed(1)

X, y = load_diabetes(return_X_y=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

x_scaler = StandardScaler().fit(X_train)
y_mean, y_std = y_train.mean(), y_train.std()

train_ds = TensorDataset(
    torch.tensor(x_scaler.transform(X_train), dtype=torch.float32),
    torch.tensor((y_train - y_mean) / y_std, dtype=torch.float32),  # <-- here
)
X_test_t = torch.tensor(x_scaler.transform(X_test), dtype=torch.float32)

loader = DataLoader(train_ds, batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)

for epoch in range(1, 16):
    model.train()
    total = 0.0
    for features, target in loader:
        prediction = model(features)
        loss = criterion(prediction, target)  # <-- here
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * features.size(0)
    if epoch % 5 == 0:
        model.eval()
        with torch.no_grad():
            out = model(X_test_t).numpy().ravel() * y_std + y_mean
        print(f"Epoch {epoch}: train MSE {total / len(train_ds):.3f}, test R2 {r2_score(y_test, out):.3f}")
